"""What vectors of items gain, fitted to other rows or to all, and what they cost.

    python benchmarks/similarities.py --tables shop "movielens, new users"
    python benchmarks/similarities.py --cost 1000000

Boosting learns from a table's train rows without similarities, with those by vectors of other rows,
as the workflow has them, and, the wrong way, by vectors of all train rows. AUC of the rows that
judge, as in public.py. With `--cost`, so many rows of 500 events on average, of 3,000 items, become
an H5 file and feature maps, with vectors and without: seconds, memory, and a digest of the vectors,
which should be equal for any number of threads.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import public
import pyarrow as pa
import pyarrow.parquet as pq
import runs
from scipy.special import expit
from tables import TABLES, Table

from feseq.common.memory import peak_memory
from feseq.config.columns import Columns
from feseq.families.boosting.choice import SHORT
from feseq.families.boosting.features import fit_features
from feseq.families.boosting.matrix import finite, quantile_matrix
from feseq.families.boosting.trees import fit
from feseq.features.encoding import FeatureEncoder
from feseq.features.feature_map import FeatureMap
from feseq.features.fitting import fit_feature_map
from feseq.storage.opening import open_table

TRAIN, VALID = "data/h5/full/train/part000.h5", "data/h5/full/valid/part000.h5"
TEST, FEATURE_MAP = "data/h5/test/part000.h5", "data/h5/full/feature_map.json"
# A leaf of the short trainings; that of the default.
CONFIG = SHORT.model_copy(update={"min_child_weight": 20.0})
ITEMS, EVENTS, PART = 3_000, 500, 20_000


def prepare(folder: Path, table: Table) -> None:
    """The H5 files and the feature map of a table, by the workflow."""
    table.write(folder / "raw")
    changes = public.settings(table, {}, 42, True)
    runs.run(folder, changes, [TRAIN, VALID, TEST, FEATURE_MAP], 2, preset=None)


def auc(folder: Path, table: Table, sets: list[str], is_wrong: bool) -> float:
    """The AUC of boosting with these sets; its train rows have vectors of all rows if wrong."""
    fitted = FeatureMap.read(folder / FEATURE_MAP)
    if is_wrong:
        fitted = fitted.for_other_rows()  # without vectors for the folds of train rows
    with open_table(folder / TRAIN) as train, open_table(folder / VALID) as valid:
        of_train, of_other = fit_features(train, fitted, sets)
        matrix = quantile_matrix(train, of_train, threads=2)
        held = quantile_matrix(valid, of_other, like=matrix, threads=2)
        booster, _ = fit(matrix, held, CONFIG, "cpu", 2)
    logit = np.empty(len(table.test))
    with open_table(folder / TEST) as test:
        encoder = FeatureEncoder(fitted, test)
        for block in test.blocks(encoder.history_columns):
            rows = finite(of_other.matrix(encoder, block))
            logit[block.row] = booster.inplace_predict(rows, predict_type="margin")
    return public.Judge(table.chance).metrics(expit(logit))[0]


def compare(name: str, table: Table, folder: Path) -> None:
    """Print the AUCs of a table."""
    prepare(folder, table)
    print(f"\n| {name}: boosting with | AUC |\n|---|---|")
    for sets, with_histories in (([], ""), (["histories"], "histories")):
        also = f"{with_histories} and " if with_histories else ""
        for what, more, is_wrong in (
            (with_histories or "no set", [], False),
            (f"{also}similarities by vectors of other rows", ["similarities"], False),
            (f"{also}similarities by vectors of all rows", ["similarities"], True),
        ):
            print(f"| {what} | {auc(folder, table, [*sets, *more], is_wrong):.4f} |", flush=True)


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
    runs.run(folder, changes, [TRAIN], 2, preset=None)
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
    parser.add_argument("--test", action="store_true", help="judge on the test rows")
    parser.add_argument("--cost", type=int, metavar="ROWS")
    parser.add_argument("--fit", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit_here(Path(options.fit[0]), options.fit[1])
    with tempfile.TemporaryDirectory() as folder:
        for name in options.tables:
            table = TABLES[name]() if options.test else TABLES[name]().inner()
            compare(name, table, Path(folder, public.key(name)))
        if options.cost:
            cost(options.cost, Path(folder, "cost"))


if __name__ == "__main__":
    main()
