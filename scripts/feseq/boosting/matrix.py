"""Rows of an H5 table as XGBoost's quantile matrix, block by block: two bytes a feature stay.

They stay in memory, or, of a large table that the CPU trains on, in a file whose pages are mapped
while a tree looks at them. Then the system keeps as many of them in memory as there is room for.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from ..common.ahead import map_ahead
from ..common.files import require_space
from ..common.progress import progress
from ..dataset.block import Block
from ..dataset.encoding import FeatureEncoder
from ..dataset.store import H5Table
from .features import Features, read_blocks

# Stands for NaN: a matrix with gaps takes four bytes a feature, and missing values, which tell
# something, get a bin of their own below all others.
_MISSING = -3e38
_LARGEST = 1e38
# Of a feature, all that a byte tells apart.
BINS = 256
# Rows whose quantiles are the bins; one then has its share to about 3 %.
SAMPLE_ROWS = 300_000
# A matrix of more goes into a file. XGBoost has the bins by row and by column, a byte each.
MOST_IN_MEMORY = 1 << 30
_BYTES_A_FEATURE = 2
# Rows of a page of that file; with small ones a tree takes twice as long.
PAGE_ROWS = 65_536

# Features [rows, columns] and labels [rows] of some rows.
Rows = tuple[np.ndarray, np.ndarray]
Matrix = xgboost.QuantileDMatrix | xgboost.ExtMemQuantileDMatrix


class Blocks(xgboost.DataIter):
    """Hands blocks of rows to XGBoost, which goes through them several times."""

    def __init__(
        self,
        blocks: Callable[[], Iterator[Rows]],
        columns: dict[str, str],
        file: Path | None = None,
    ) -> None:
        super().__init__(str(file) if file else None, release_data=True, on_host=False)
        self.blocks = blocks
        self.columns = columns
        self.ahead: Iterator[Rows] = iter(())

    def next(self, input_data: Any) -> bool:
        """Give the next block to `input_data`; false where there is none."""
        block = next(self.ahead, None)
        if block is None:
            return False
        features, label = block
        names, types = list(self.columns), list(self.columns.values())
        input_data(data=features, label=label, feature_names=names, feature_types=types)
        return True

    def reset(self) -> None:
        """Begin again."""
        self.ahead = self.blocks()


def quantile_matrix(
    table: H5Table,
    features: Features,
    *,
    like: Matrix | None = None,
    threads: int,
    folder: Path | None = None,
) -> Matrix:
    """The rows of `table` that train or choose, with their labels; binned `like` another matrix.

    A large one is kept in a file in `folder`, if given. Without another matrix, the bins are those
    of the first rows, a fair sample, since train rows are shuffled: quantiles of all rows would
    take another pass, and a third more memory.
    """
    encoder = FeatureEncoder(features.feature_map, table)

    def described(block: Block) -> Rows:
        assert block.label is not None, "a train file has labels"
        return finite(features.matrix(encoder, block)), block.label

    def blocks(rows: int) -> Iterator[Rows]:
        read = read_blocks(table, features.feature_map, features.config, 0, rows)
        with progress("binned", rows) as binning:
            for made in map_ahead(described, read, threads):
                binning.advance(len(made[1]))
                yield made

    def sample(rows: int) -> Iterator[Rows]:
        first: Rows | None = None
        for made in blocks(rows):
            first = first or (made[0][:1].copy(), made[1][:1])
            yield made
        if first is not None:
            # XGBoost makes bins for as many categories as it meets; a rare one may come later.
            most = features.most_categories()
            first[0][0, list(most)] = list(most.values())
            yield first

    def binned(
        rows: Callable[[], Iterator[Rows]], ref: xgboost.DMatrix | None, file: Path | None = None
    ) -> Matrix:
        kind = xgboost.ExtMemQuantileDMatrix if file else xgboost.QuantileDMatrix
        return kind(
            Blocks(rows, features.columns(), file),
            ref=ref,
            max_bin=BINS,
            nthread=threads,
            enable_categorical=True,
        )

    if like is None:
        like = binned(lambda: sample(min(table.choosing_rows, SAMPLE_ROWS)), None)
    size = table.choosing_rows * len(features.columns()) * _BYTES_A_FEATURE
    if folder is not None and size > MOST_IN_MEMORY:
        require_space(folder, size + size // 8)
        return binned(lambda: _pages(blocks(table.choosing_rows)), like, folder / "matrix")
    return binned(lambda: blocks(table.choosing_rows), like)


def _pages(blocks: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows in blocks of PAGE_ROWS or a little more, the last one of fewer."""
    waiting: list[Rows] = []
    for block in blocks:
        waiting.append(block)
        if sum(len(label) for _, label in waiting) >= PAGE_ROWS:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(blocks: list[Rows]) -> Rows:
    features, labels = zip(*blocks)
    return np.concatenate(features), np.concatenate(labels)


def finite(features: np.ndarray) -> np.ndarray:
    """The features without NaN and infinity, as training and prediction take them."""
    return np.nan_to_num(features, copy=False, nan=_MISSING, posinf=_LARGEST, neginf=-_LARGEST)
