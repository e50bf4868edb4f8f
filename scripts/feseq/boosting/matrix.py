"""Rows of an H5 table as XGBoost's quantile matrix, block by block: two bytes a feature stay."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xgboost

from ..common.ahead import map_ahead
from ..common.progress import progress
from ..dataset.encoding import FeatureEncoder
from ..dataset.store import Block, H5Table
from .features import Features, read_blocks

# Stands for NaN: a matrix with gaps takes four bytes a feature, and missing values, which tell
# something, get a bin of their own below all others.
_MISSING = -3e38
_LARGEST = 1e38
# Rows whose quantiles are the bins; a bin of 256 then has its share to about 3 %.
SAMPLE_ROWS = 300_000

# Features [rows, columns] and labels [rows] of some rows.
Rows = tuple[np.ndarray, np.ndarray]


class Blocks(xgboost.DataIter):
    """Hands blocks of rows to XGBoost, which goes through them several times."""

    def __init__(self, blocks: Callable[[], Iterator[Rows]], columns: dict[str, str]) -> None:
        super().__init__(release_data=True)
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
    like: xgboost.QuantileDMatrix | None = None,
    threads: int,
) -> xgboost.QuantileDMatrix:
    """The rows of `table` that train or choose, with their labels; binned `like` another matrix.

    Without one, the bins are those of the first rows, a fair sample, since train rows are shuffled:
    quantiles of all rows would take another pass, and a third more memory.
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

    def binned(rows: Callable[[], Iterator[Rows]], ref: Any) -> xgboost.QuantileDMatrix:
        return xgboost.QuantileDMatrix(
            Blocks(rows, features.columns()),
            ref=ref,
            max_bin=features.config.max_bins,
            nthread=threads,
            enable_categorical=True,
        )

    if like is None:
        like = binned(lambda: sample(min(table.choosing_rows, SAMPLE_ROWS)), None)
    return binned(lambda: blocks(table.choosing_rows), like)


def finite(features: np.ndarray) -> np.ndarray:
    """The features without NaN and infinity, as training and prediction take them."""
    return np.nan_to_num(features, copy=False, nan=_MISSING, posinf=_LARGEST, neginf=-_LARGEST)
