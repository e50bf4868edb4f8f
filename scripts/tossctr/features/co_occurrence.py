"""Which items co-occur in histories, and their vectors by this.

Two items co-occur if one is among the WINDOW events behind the other in a history. The positive
pointwise mutual information of items is reduced to DIMENSIONS by a singular value decomposition
(Levy and Goldberg, NeurIPS 2014), and each vector to length 1. No click is needed: a table of few
clicks has many events.

Legend: F folds, V indices of a sequence, K of them counted, D dimensions.
"""

import numba
import numpy as np
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from ..common.arrays import Ragged
from ..datasets.table import Table, period_count
from .item_vectors import DIMENSIONS, ItemVectors

WINDOW = 20
# Only so many codes, the commonest, have vectors.
MOST_CODES = 2_048


def fold_of(train: Table) -> str:
    """What the folds of train rows are, see ItemVectors."""
    if period_count(train) > 1:
        return "period"
    return "fold" if train.column("fold").any() else "history"


def are_cut(lengths: np.ndarray) -> bool:
    """True if distinct histories of these lengths pile up at the longest: they are cut.

    Where histories grow, about as many have one event less. Surely more is a quarter more, and
    three standard errors.
    """
    longest, one_less = (np.count_nonzero(lengths == lengths.max(initial=0) - i) for i in (0, 1))
    surely_more = 1.25 * one_less + 3 * np.sqrt(longest + one_less)
    return bool(lengths.max(initial=0) > 1 and longest > surely_more)


class CoOccurrences:
    """How often the codes of a sequence co-occur, by fold, [F, K, K].

    `counted` are those that are counted, ascending, of `size` indices.
    """

    def __init__(self, counted: np.ndarray, size: int, folds: int) -> None:
        self.codes = counted.tolist()
        self.place = np.full(size, -1, np.int64)
        self.place[counted] = np.arange(len(counted))
        self.counts = np.zeros((folds, len(counted), len(counted)), np.uint32)

    def add(self, fold: np.ndarray, histories: Ragged) -> None:
        """Count the histories of rows, indices of the sequence, with each row's fold, [rows]."""
        _count(self.place[histories.values], histories.offsets, fold, self.counts)

    def vectors(self, sequence: str, fold_of: str) -> ItemVectors | None:
        """The vectors of the counted items; None if fewer than two folds have pairs of them.

        By period, those of a fold are of the rows of earlier folds, else of all other folds.
        """
        if np.count_nonzero(self.counts.any(axis=(1, 2))) < 2:
            return None
        total = self.counts.sum(axis=0, dtype=np.float64)
        each, older = [], np.zeros_like(total)
        for count in self.counts:
            each.append(reduced(older if fold_of == "period" else total - count))
            older += count
        stacked = np.stack([*each, reduced(total)])
        return ItemVectors.of(sequence, fold_of, self.codes, stacked)


def reduced(counts: np.ndarray) -> np.ndarray:
    """The vectors of items that co-occur `counts` [K, K] times, float32 [K, D]."""
    vectors = np.zeros((len(counts), DIMENSIONS), np.float32)
    both = counts.astype(np.float64)
    both = both + both.T
    total = both.sum(axis=1)
    expected = np.outer(total, total) / max(1.0, total.sum())
    ratio = np.divide(both, expected, out=np.ones_like(both), where=both > 0)
    information = np.log(np.maximum(ratio, 1))
    dimensions = min(DIMENSIONS, len(both))
    if information.any():
        # Sums on several threads are rounded in another order.
        with threadpool_limits(1, "blas"):
            left, values, _ = randomized_svd(information, dimensions, random_state=0)
        scaled = left * np.sqrt(values)
        # Rounding is all that an item has which co-occurs with none.
        scaled[~information.any(axis=1)] = 0
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        vectors[:, :dimensions] = scaled / np.maximum(length, 1e-12)
    return vectors


@numba.njit(nogil=True)
def _count(places: np.ndarray, offsets: np.ndarray, fold: np.ndarray, counts: np.ndarray) -> None:
    for row in range(len(fold)):
        for i in range(offsets[row], offsets[row + 1]):
            if places[i] < 0:
                continue
            for j in range(i + 1, min(i + 1 + WINDOW, offsets[row + 1])):
                if places[j] >= 0 and places[j] != places[i]:
                    counts[fold[row], places[i], places[j]] += 1
