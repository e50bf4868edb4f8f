"""Time and peak memory of boosting at any number of rows.

    python benchmarks/boosting.py --rows 10704179 --trees 100 --threads 2

Simulates a small train file and lets boosting go through it again and again, until it has seen as
many rows; each time round the numerics are a little different, so that no two rows are equal.
Everything else is the workflow's own: counting the clicks, features, the quantile matrix in a
stream, training. Prints seconds and peak memory after each stage. `--mean_length` is shorter than
the real data's 500 by default; `--most 0` puts the matrix into a file; `--gaps` leaves missing
values to XGBoost, which then needs more.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import data
import numpy as np

from feseq.boosting import matrix
from feseq.boosting.features import fit_features
from feseq.boosting.matrix import quantile_matrix
from feseq.boosting.training import Binned, fit
from feseq.common.memory import keep_freed_memory, peak_memory
from feseq.config.boosting import BoostingConfig
from feseq.dataset.block import Block
from feseq.dataset.feature_map import FeatureMap
from feseq.dataset.store import H5Table

SMALL_ROWS = 100_000


class Repeated(H5Table):
    """A table as if its rows came again and again, with other numbers each time."""

    def __init__(self, path: Path, rows: int) -> None:
        super().__init__(path)
        self.small, self.rows, self.choosing_rows = self.rows, rows, rows

    def read(self, start: int, stop: int, sequences_of: Sequence[str] | None = None) -> Block:
        """Rows start to stop; a block does not go over the end of the small table."""
        first = min(start % self.small, self.small - (stop - start))
        block = super().read(first, first + stop - start, sequences_of)
        noise = np.random.default_rng(start).random(block.numeric.shape, np.float32)
        numeric = block.numeric * (1 + np.float32(1e-3) * noise)
        return replace(block, numeric=numeric, row=np.arange(start, stop))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--mean_length", type=float, default=50)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--top_codes", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--gaps", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep freed memory")
    parser.add_argument("--most", type=float, default=1, help="GiB of a matrix in memory")
    options = parser.parse_args()
    if options.keep:
        keep_freed_memory()
    matrix.MOST_IN_MEMORY = int(options.most * 2**30)
    if options.gaps:
        matrix.finite = lambda features: features
    # No early stop.
    config = BoostingConfig(
        trees=options.trees, early_stopping=options.trees, top_codes=options.top_codes
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In another process, whose memory is not measured.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as maker:
            maker.submit(make, folder, options.mean_length).result()
        measure(folder, config, options)


def make(folder: Path, mean_length: float) -> None:
    """The small files."""
    data.make(folder, SMALL_ROWS, mean_length)
    data.train_to_h5(folder, 1)
    data.feature_map(folder, 1)


def measure(folder: Path, config: BoostingConfig, options: argparse.Namespace) -> None:
    """Run the stages and print a line for each."""
    feature_map = FeatureMap.read(folder / "feature_map.json")
    started = time.perf_counter()

    def report(stage: str) -> None:
        nonlocal started
        seconds, started = time.perf_counter() - started, time.perf_counter()
        print(f"| {stage} | {seconds:,.0f} | {peak_memory() / 2**30:.2f} |", flush=True)

    print(f"{options.rows:,} rows, mean length {options.mean_length:g}, {options.threads} threads")
    print("\n| stage | seconds | peak GiB so far |\n|---|---|---|")
    with (
        Repeated(folder / "train.h5", options.rows) as train,
        H5Table(folder / "valid.h5") as valid,
    ):
        own, features = fit_features(train, feature_map, config)
        report("clicks counted")
        binned = quantile_matrix(train, own, threads=options.threads, folder=folder)
        report(f"{len(own.columns())} features in a quantile matrix")
        valid_binned = quantile_matrix(valid, features, like=binned, threads=options.threads)
        both = Binned(features, binned, valid_binned, {})
        _, curves = fit(both, config, options.device, options.threads)
        report(f"{len(curves['auc'])} trees")


if __name__ == "__main__":
    main()
