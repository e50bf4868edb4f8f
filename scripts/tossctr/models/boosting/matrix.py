"""Rows of an H5 table as XGBoost's quantile matrix, block by block, two bytes a feature.

They stay in memory. If the CPU trains on a large table, they are in a file whose pages are mapped
while a tree reads them, and the system caches as many pages as fit.
"""

import errno
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from ...common.errors import UserError
from ...common.prefetch import prefetch_map
from ...common.progress import Progress
from ...datasets.block import Block
from ...datasets.table import Table
from ...features.encoding import FeatureEncoder
from .features import Features

# Replaces NaN: a matrix with gaps takes four bytes a feature, and missing values, which are
# informative, get their own bin below all others.
_MISSING = -3e38
_LARGEST = 1e38
# The bins of a feature: as many as a byte can number.
BINS = 256
# Bins are the quantiles of this many rows; a bin's share is accurate to about 3 %.
SAMPLE_ROWS = 300_000
# A larger matrix goes into a file. XGBoost has the bins by row and by column, a byte each.
MOST_IN_MEMORY = 1 << 30
_BYTES_A_FEATURE = 2
# The blocks of a page of that file, 65,536 rows; with small pages a tree takes twice as long.
PAGE_BLOCKS = 8

# Features [rows, columns] and labels [rows] of some rows.
Labelled = tuple[np.ndarray, np.ndarray]
Matrix = xgboost.QuantileDMatrix | xgboost.ExtMemQuantileDMatrix


class Blocks(xgboost.DataIter):
    """Blocks of rows for XGBoost, which reads them several times."""

    def __init__(
        self,
        blocks: Callable[[], Iterator[Labelled]],
        types: list[str],
        file: Path | None = None,
    ) -> None:
        super().__init__(str(file) if file else None, release_data=True, on_host=False)
        self.blocks = blocks
        self.types = types
        self.remaining: Iterator[Labelled] = iter(())

    def next(self, input_data: Any) -> bool:
        """Pass the next block to `input_data`; false if there is none."""
        block = next(self.remaining, None)
        if block is not None:
            input_data(data=block[0], label=block[1], feature_types=self.types)
        return block is not None

    def reset(self) -> None:
        """Begin again."""
        self.remaining = self.blocks()


def quantile_matrix(
    table: Table,
    features: Features,
    *,
    like: Matrix | None = None,
    threads: int,
    folder: Path | None = None,
) -> Matrix:
    """The rows of `table` with their labels; binned `like` another matrix.

    A large matrix is kept in a file in `folder`, if given. Without another matrix, the bins come
    from the first rows. These are a fair sample, since train rows are shuffled; quantiles of all
    rows would take another pass, and a third more memory. Raises UserError if there are no
    features.
    """
    rows = table.rows
    if not features.columns():
        raise UserError(
            f"{table.path}: boosting has no feature that predicts clicks; name sets in "
            f"boosting.features (docs/boosting.md), or leave boosting out of submission_models and "
            f"evaluation.baselines"
        )

    def binned(
        blocks: Callable[[], Iterator[Labelled]], ref: Matrix | None, file: Path | None = None
    ) -> Matrix:
        matrix = xgboost.ExtMemQuantileDMatrix if file else xgboost.QuantileDMatrix
        data = Blocks(blocks, [type_ for _, type_ in features.columns()], file)
        return matrix(data, ref=ref, max_bin=BINS, nthread=threads, enable_categorical=True)

    blocks = partial(_blocks, table, features, rows, threads)
    if like is None:
        first = partial(_blocks, table, features, min(rows, SAMPLE_ROWS), threads)
        like = binned(lambda: _with_every_category(first(), features), None)
    size = rows * len(features.columns()) * _BYTES_A_FEATURE
    if folder is not None and size > MOST_IN_MEMORY:
        # XGBoost crashes on a full disk.
        if (free := shutil.disk_usage(folder).free) < size + size // 8:
            text = f"No space left on device: {free >> 20:,} MiB free, {size >> 20:,} MiB needed"
            raise OSError(errno.ENOSPC, text, str(folder))
        return binned(lambda: _pages(blocks()), like, folder / "matrix")
    return binned(blocks, like)


def _blocks(table: Table, features: Features, rows: int, threads: int) -> Iterator[Labelled]:
    """The first rows of a table, block by block."""
    encoder = FeatureEncoder(features.feature_map, table)

    def labelled(block: Block) -> Labelled:
        assert block.label is not None, "a train file has labels"
        return finite(features.matrix(encoder, block)), block.label

    progress = Progress("binned", rows)
    blocks = table.blocks(encoder.history_columns, rows)
    for matrix, label in prefetch_map(labelled, blocks, threads):
        progress.advance(len(label))
        yield matrix, label


def _with_every_category(blocks: Iterator[Labelled], features: Features) -> Iterator[Labelled]:
    """The blocks, and one more row with the largest index of each categorical feature.

    XGBoost makes bins for the categories that it sees, and a rare one may come later.
    """
    extra: Labelled | None = None
    for block in blocks:
        extra = extra or (block[0][:1].copy(), block[1][:1])
        yield block
    if extra is not None:
        largest = features.most_categories()
        extra[0][0, list(largest)] = list(largest.values())
        yield extra


def _pages(blocks: Iterator[Labelled]) -> Iterator[Labelled]:
    """The same rows in pages of PAGE_BLOCKS blocks; the last may have fewer."""
    while page := [*islice(blocks, PAGE_BLOCKS)]:
        features, labels = zip(*page)
        yield np.concatenate(features), np.concatenate(labels)


def finite(features: np.ndarray) -> np.ndarray:
    """The features without NaN and infinity, for training and prediction."""
    return np.nan_to_num(features, copy=False, nan=_MISSING, posinf=_LARGEST, neginf=-_LARGEST)
