"""What a history's times, kinds and similarities gain, and what vectors of items cost.

    python benchmarks/histories.py --tables shop "movielens, new users" --seeds 42 43 44
    python benchmarks/histories.py --cost 1000000

Boosting learns from a table's train rows, with `histories` and what else validation keeps, by what
a history's codes tell, by times and kinds, by similarities, and by all; then the wrong way, with
vectors of items that are fitted to the train rows themselves. AUC of the rows that judge, as in
public.py. With `--cost`, so many rows of 500 events on average, of 3,000 items, become an H5 file
and feature maps, with vectors and without: seconds, memory, and a digest of the vectors, which
should be equal for any number of threads.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import public
import pyarrow as pa
import pyarrow.parquet as pq
import runs
from scipy.special import expit
from tables import TABLES, Table

from feseq.common.memory import peak_memory
from feseq.config.columns import Columns
from feseq.families.boosting.matrix import finite
from feseq.families.boosting.settings import BoostingConfig
from feseq.families.boosting.train import BoostingRun
from feseq.features.encoding import FeatureEncoder
from feseq.features.feature_map import FeatureMap
from feseq.features.fitting import fit_feature_map
from feseq.storage.opening import open_table
from feseq.storage.table import monitored_rows

TRAIN, VALID = "data/h5/full/train/part000.h5", "data/h5/full/valid/part000.h5"
TEST, FEATURE_MAP = "data/h5/test/part000.h5", "data/h5/full/feature_map.json"
THREADS = 2
ITEMS, EVENTS, PART = 3_000, 500, 20_000


def prepare(folder: Path, table: Table) -> None:
    """The H5 files and the feature map of a table, by the workflow."""
    table.write(folder / "raw")
    changes = public.settings(table, 42)
    runs.run(folder, changes, [TRAIN, VALID, TEST, FEATURE_MAP], 2)


def aucs(
    folder: Path,
    table: Table,
    fitted: FeatureMap,
    sets: Sequence[str] | Literal["auto"],
    seeds: Sequence[int],
) -> tuple[list[float], Sequence[str]]:
    """The AUC of boosting by seed, and its sets of features, which validation chooses if `auto`."""
    config = BoostingConfig.from_values({"features": sets, "bags": 1}, "boosting")
    with open_table(folder / TRAIN) as train, open_table(folder / VALID) as valid:
        run = BoostingRun(train, monitored_rows(valid), fitted, config, "cpu", THREADS, None)
        features = run.make_features()
        seeded = [config.model_copy(update={"seed": seed}) for seed in seeds]
        grown = [replace(run, config=each).grow(features) for each in seeded]
    with open_table(folder / TEST) as test:
        encoder = FeatureEncoder(fitted, test)
        blocks = [*test.blocks(encoder.history_columns)]
        x = np.concatenate([finite(features.features.matrix(encoder, block)) for block in blocks])
    judge = public.Judge(table.chance[np.concatenate([block.row for block in blocks])])
    logits = [boosters[0].inplace_predict(x, predict_type="margin") for boosters, _, _ in grown]
    return [judge.metrics(expit(logit))[0] for logit in logits], features.choice.sets


def compare(name: str, table: Table, folder: Path, seeds: Sequence[int]) -> None:
    """Print the AUCs of a table with times, kinds and similarities, and with parts left out."""
    prepare(folder, table)
    everything = FeatureMap.read(folder / FEATURE_MAP)
    of_codes = replace(everything, event_ages=[], kinds=[])
    wrong = everything.for_other_rows()  # train rows have the vectors of all train rows
    _, kept = aucs(folder, table, everything, "auto", [])
    base = sorted({*kept, "histories"} - {"similarities"})
    print(f"\n{name}: validation keeps {', '.join(kept) or 'none'}; here {', '.join(base)} and:\n")
    print("| a history's | AUC | by seed |\n|---|---|---|")
    for what, fitted, sets in (
        ("codes", of_codes, base),
        ("codes, times and kinds", everything, base),
        ("codes and similarities", of_codes, [*base, "similarities"]),
        ("codes, times, kinds and similarities", everything, [*base, "similarities"]),
        ("the same, vectors of all train rows", wrong, [*base, "similarities"]),
    ):
        by_seed, _ = aucs(folder, table, fitted, sets, seeds)
        seen = " ".join(f"{auc:.4f}" for auc in by_seed)
        print(f"| {what} | {np.mean(by_seed):.4f} | {seen} |", flush=True)


def write_rows(path: Path, rows: int) -> None:
    """A table of histories that are mostly of one of 30 clusters, and of clicks by chance."""
    rng, item = np.random.default_rng(0), np.arange(ITEMS)
    writer = None
    for start in range(0, rows, PART):
        count = min(PART, rows - start)
        lengths = rng.poisson(EVENTS, count)
        cluster = np.repeat(rng.integers(0, 30, count), lengths)
        drawn = np.minimum(rng.zipf(1.3, lengths.sum()), ITEMS) - 1
        events = np.where(rng.random(len(drawn)) < 0.7, drawn - drawn % 30 + cluster, drawn)
        offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
        history = pa.ListArray.from_arrays(offsets, pa.array(np.minimum(events, ITEMS - 1)))
        target = rng.choice(item, count).astype(str)
        clicked = (rng.random(count) < 0.02).astype(np.int8)
        price = rng.normal(size=count)
        columns = {"clicked": clicked, "item": target, "price": price, "history": history}
        batch = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, batch.schema)
        writer.write_table(batch)
    assert writer is not None, "there are rows"
    writer.close()


def cost(rows: int, folder: Path) -> None:
    """Print what the feature map of so many rows costs, by one thread and by two."""
    (folder / "raw").mkdir(parents=True)
    write_rows(folder / "raw/train.parquet", rows)
    group = {"numeric": ["price"], "sequences": {"history": "item"}, "share_embedding": ["history"]}
    table = {
        "raw": {"train": "raw/train.parquet", "test": None},
        "columns": {"label": "clicked", "id": "ID", "use": ["shop"], "groups": {"shop": group}},
        "score": "logloss",
    }
    changes = {"table": table, "parts": {"rows": 2 * rows}}  # one file
    runs.run(folder, changes, [TRAIN], 2)
    print("\n| feature map | threads | s | CPU s | MiB | item vectors |\n|---|---|---|---|---|---|")
    for shared, threads in (("", 1), ("history", 1), ("history", 2)):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        env = os.environ | dict.fromkeys(names, str(threads))
        command = [sys.executable, __file__, "--fit", str(folder / TRAIN), shared]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
        what = "with vectors" if shared else "without"
        print(f"| {what} | {threads} | {done.stdout.strip()} |", flush=True)


def fit_here(train: Path, shared: str) -> None:
    """Fit the feature map of an H5 file, and print seconds, memory and a digest of the vectors."""
    columns = Columns(
        label="clicked",
        id="ID",
        profile=(),
        numeric=("price",),
        sequences=("history",),
        targets=("item",),
        shared=(shared,) if shared else (),
    )
    start = time.perf_counter()
    fitted = fit_feature_map(train, columns, 1)
    seconds, cpu = time.perf_counter() - start, time.process_time()
    data = "".join(items.data for items in fitted.item_vectors)
    digest = hashlib.sha256(data.encode()).hexdigest()[:12] if data else ""
    print(f"{seconds:.0f} | {cpu:.0f} | {peak_memory() >> 20:,} | {digest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--test", action="store_true", help="judge on the test rows")
    parser.add_argument("--cost", type=int, metavar="ROWS")
    parser.add_argument("--fit", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit_here(Path(options.fit[0]), options.fit[1])
    with tempfile.TemporaryDirectory() as folder:
        for name in options.tables:
            table = TABLES[name]() if options.test else TABLES[name]().inner()
            compare(name, table, Path(folder, public.key(name)), options.seeds)
        if options.cost:
            cost(options.cost, Path(folder, "cost"))


if __name__ == "__main__":
    main()
