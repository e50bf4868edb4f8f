"""Speed and memory of the data path beside its floors: what reading alone would cost.

    python benchmarks/data.py --rows 100000 300000 --mean_length 500 --threads 2

Makes its data in a temporary folder, runs each stage in a process of its own, at each number of
rows, and prints rows/s, the time as a multiple of the floor's, processor time and peak memory of
the process. Imports and compilation count.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import runs
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from feseq.common.memory import keep_freed_memory
from feseq.common.parquet import write_table
from feseq.config.columns import Columns
from feseq.config.sampling import Sampling
from feseq.features.feature_map import FeatureMap
from feseq.features.fitting import fit_feature_map
from feseq.predict.submission import join_predictions
from feseq.raw.reading import RawTable
from feseq.sampling.draw import sample
from feseq.simulation.stand_in import simulate_split
from feseq.storage.conversion import BATCH_ROWS, convert_test, convert_train
from feseq.storage.store import H5Table

CONFIG = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
COLUMNS = Columns.from_config(runs.simulated()["columns"])
# Rows of the plain reference, whose memory and time grow with every one of them.
REFERENCE_ROWS = 3_000
EPOCHS = 3


def make(folder: Path, rows: int, mean_length: float, valid_share: float = 0.1) -> None:
    """Raw files of `rows` train and test rows, and the selection of all train rows."""
    simulate(folder, rows, mean_length)
    select(folder, valid_share)


def simulate(folder: Path, rows: int, mean_length: float) -> int:
    """Simulate raw files of `rows` train and test rows."""
    for split in ("train", "test"):
        simulate_split(
            folder / f"{split}.parquet",
            folder / f"{split}_truth.parquet",
            split=split,
            rows=rows,
            mean_length=mean_length,
            seed=1,
            train_rows=rows,
        )
    return 2 * rows


def select(folder: Path, valid_share: float = 0.1) -> None:
    """Write the selection of all train rows, as one part."""
    raw = folder / "train.parquet"
    sample(
        raw,
        COLUMNS.label,
        None,
        Sampling(valid_share=valid_share, seed=1),
        part_rows=pq.ParquetFile(raw).metadata.num_rows,
        selection=folder / "selection.parquet",
        parts=folder / "parts.json",
    )


def decode_train(folder: Path, threads: int) -> int:
    """Floor of the train conversion: pyarrow decodes the same columns, which are thrown away."""
    return _decode(folder / "train.parquet", COLUMNS.label, threads)


def decode_test(folder: Path, threads: int) -> int:
    """Floor of the test conversion: the same for the test file."""
    return _decode(folder / "test.parquet", COLUMNS.id, threads)


def _decode(path: Path, extra: str, threads: int) -> int:
    pa.set_cpu_count(threads)
    names = (*COLUMNS.features, extra)
    return sum(len(batch) for _, batch in RawTable(path).stream(names, BATCH_ROWS))


def train_to_h5(folder: Path, threads: int) -> int:
    """Train conversion as one part."""
    convert_train(
        folder / "train.parquet",
        folder / "selection.parquet",
        COLUMNS,
        folder / "train.h5",
        folder / "valid.h5",
        threads=threads,
    )
    return pq.ParquetFile(folder / "train.parquet").metadata.num_rows


def test_to_h5(folder: Path, threads: int) -> int:
    """Test conversion, in file order, as one part."""
    convert_test(folder / "test.parquet", COLUMNS, folder / "test.h5", threads=threads)
    return pq.ParquetFile(folder / "test.parquet").metadata.num_rows


def plain_reference(folder: Path, threads: int) -> int:
    """A row-wise pandas conversion to arrays padded to 500 events, of the first rows only."""
    import pandas as pd

    batch = next(pq.ParquetFile(folder / "train.parquet").iter_batches(REFERENCE_ROWS))
    frame: pd.DataFrame = batch.to_pandas()
    padded = np.zeros((len(frame), 500), np.int64)
    numeric = np.zeros((len(frame), len(COLUMNS.numeric)), np.float32)
    codes: dict[tuple[str, str], int] = {}
    categorical = np.zeros((len(frame), len(COLUMNS.categorical)), np.int64)
    for i, (_, row) in enumerate(frame.iterrows()):
        events = [int(token) for token in row["seq"].split(",")][-500:]
        padded[i, 500 - len(events) :] = events
        numeric[i] = [row[name] for name in COLUMNS.numeric]
        for j, name in enumerate(COLUMNS.categorical):
            categorical[i, j] = codes.setdefault((name, row[name]), len(codes) + 1)
    with h5py.File(folder / "reference.h5", "w") as file:
        for name, data in (("seq", padded), ("numeric", numeric), ("categorical", categorical)):
            file[name] = data
    return len(frame)


def read_h5(folder: Path, threads: int) -> int:
    """Floor of the batch source: the same bytes of train.h5, block by block, thrown away."""
    with H5Table(folder / "train.h5") as table:
        table.block_rows = 65_536
        return sum(len(block) for block in table.blocks())


def feature_map(folder: Path, threads: int, columns: Columns = COLUMNS) -> int:
    """Fit the vocabularies and ranges of train.h5."""
    fit_feature_map(folder / "train.h5", columns, 1).write(folder / "feature_map.json")
    with h5py.File(folder / "train.h5", "r") as file:
        return int(file.attrs["rows"])


def batches(folder: Path, threads: int) -> int:
    """Three epochs of shuffled batches of 2,048 rows at max_len 500, encoded, on the host."""
    import torch

    from feseq.batches.source import BatchSource

    torch.set_num_threads(threads)
    fields = FeatureMap.read(folder / "feature_map.json")
    source = BatchSource(H5Table(folder / "train.h5"), fields, max_len=500, batch_rows=2_048)
    padded = events = 0
    for epoch in range(EPOCHS):
        for batch in source.shuffled(seed=1, epoch=epoch):
            length_B = batch.offsets.diff()
            padded += len(batch) * int(length_B.max())
            events += int(length_B.sum())
    print(f"padding share of the batches: {1 - events / padded:.3f}", file=sys.stderr)
    return EPOCHS * source.rows


def make_predictions(folder: Path, threads: int) -> int:
    """Random predictions for the submission, and a sample file in another order; not timed."""
    with h5py.File(folder / "test.h5", "r") as file:
        ids = np.char.decode(file["id"][:], "utf-8")
    random = np.random.default_rng(0)
    table = pa.table({"id": ids, "logit": random.standard_normal(len(ids), np.float32)})
    write_table(table, folder / "predictions.parquet")
    with open(folder / "sample.csv", "w") as file:
        file.write("ID,clicked\n")
        file.writelines(f"{name},0\n" for name in random.permutation(ids))
    return len(ids)


def submission(folder: Path, threads: int) -> int:
    """The submission in the order of the sample file, joined by ID."""
    join_predictions(
        [[folder / "predictions.parquet"]],
        [1.0],
        folder / "submission.csv",
        id_column="ID",
        label_column="clicked",
        sample_submission=folder / "sample.csv",
    )
    return pq.ParquetFile(folder / "predictions.parquet").metadata.num_rows


# Stage -> the floor that it is compared with, in the order that they need each other's files.
STAGES: dict[Callable[..., int], Callable[..., int] | None] = {
    decode_train: None,
    train_to_h5: decode_train,
    plain_reference: decode_train,
    read_h5: None,
    feature_map: read_h5,
    batches: read_h5,
    decode_test: None,
    test_to_h5: decode_test,
    make_predictions: None,
    submission: None,
}


def run_stage(work: Callable[[], int]) -> None:
    """In the stage's own process: print rows, seconds and peak memory as JSON."""
    # As every script of the workflow does.
    keep_freed_memory()
    started = time.perf_counter()
    rows = work()
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "rows": rows,
                "seconds": seconds,
                "user": usage.ru_utime,
                "system": usage.ru_stime,
                "peak_mib": usage.ru_maxrss / 1024,
            }
        )
    )


def measure(rows: int, mean_length: float, threads: int, folder: Path) -> None:
    """Make the data, run every stage, print its line."""
    # In a process of its own too: a child's peak memory is never read below its parent's.
    command = [sys.executable, __file__, "--folder", str(folder), "--threads", str(threads)]
    command += ["--rows", str(rows), "--mean_length", str(mean_length)]
    seconds_per_row: dict[Callable[..., int], float] = {}
    for stage, floor in ({simulate: None} | STAGES).items():
        done = subprocess.run(
            [*command, "--stage", stage.__name__], stdout=subprocess.PIPE, text=True, check=True
        )
        if stage is simulate:
            select(folder)
        if stage is make_predictions:
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        seconds_per_row[stage] = found["seconds"] / found["rows"]
        ratio = f"{seconds_per_row[stage] / seconds_per_row[floor]:.2f} x" if floor else "floor"
        print(
            f"| {stage.__name__} | {found['rows']:,} | {1 / seconds_per_row[stage]:,.0f} | {ratio} "
            f"| {found['user']:.1f} | {found['system']:.1f} | {found['peak_mib']:,.0f} |",
            flush=True,
        )
    for name in ("train.parquet", "train.h5", "test.parquet", "test.h5"):
        share = 0.9 if name == "train.h5" else 1.0
        size = (folder / name).stat().st_size / (rows * share)
        print(f"| {name} | {rows:,} | {size:,.0f} bytes a row | | | | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument("--mean_length", type=float, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to make the data (default: temporary)")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage == "simulate":
        run_stage(partial(simulate, options.folder, *options.rows, options.mean_length))
        return
    if options.stage:
        stage = next(stage for stage in STAGES if stage.__name__ == options.stage)
        run_stage(partial(stage, options.folder, options.threads))
        return
    print("| stage | rows | rows/s | time per row | user s | system s | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            measure(rows, options.mean_length, options.threads, Path(folder))


if __name__ == "__main__":
    main()
