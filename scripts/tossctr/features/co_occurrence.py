"""Item vectors from the co-occurrence of items in histories.

Two items co-occur if one is among the WINDOW events after the other in a history. The positive
pointwise mutual information of items is reduced to DIMENSIONS by a singular value decomposition
(Levy and Goldberg, NeurIPS 2014), and each vector is scaled to length 1. Clicks are not needed: a
table of few clicks has many events.

Legend: F folds, V indices of a sequence, K of them counted, D dimensions.
"""

import logging
from collections.abc import Sequence

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from ..common.arrays import Ragged, hash64
from ..common.progress import Progress
from ..config.names import FOLDS
from ..datasets.categories import most_frequent
from ..datasets.opening import Files, open_table
from ..datasets.table import Table, period_count
from .encoding import TokenLookup
from .feature_map import DIMENSIONS, FIRST_CATEGORY, ItemVectors, SequenceField
from .similarities import folds

logger = logging.getLogger(__name__)

WINDOW = 20
# Only this many codes, the commonest, have vectors.
MAX_CODES = 2_048
# The rows in which co-occurrences are counted, and those in which items are counted.
_CO_OCCURRENCE_ROWS, _COMMON_ROWS = 1_000_000, 100_000


def fit_item_vectors(
    table: Table, train_h5: Files, sequences: Sequence[SequenceField]
) -> list[ItemVectors]:
    """Item vectors of the sequences that share their target's codes.

    The train files define the folds, so a refit uses the same folds.
    """
    fields = [field for field in sequences if field.shared_with]
    with open_table(train_h5) as train:
        if period_count(train) > 1:
            fold_of = "period"
        else:
            fold_of = "fold" if train.column("fold").any() else "history"
        if fold_of == "history":
            fields = [field for field in fields if _are_whole(train, field.column)]
    if not fields:
        return []
    count = period_count(table) if fold_of == "period" else FOLDS
    lookups = [TokenLookup(field) for field in fields]
    counts = [CoOccurrences(_common(table, field), field.size, count) for field in fields]
    counting = Progress("counted what co-occurs", min(table.rows, _CO_OCCURRENCE_ROWS))
    for block in table.blocks([field.column for field in fields], _CO_OCCURRENCE_ROWS):
        for lookup, co_occurrences in zip(lookups, counts):
            events = block.sequences[lookup.column]
            history = Ragged(lookup(events.values), events.offsets)
            co_occurrences.add(folds(fold_of, block, lookup.column, count), history)
        counting.advance(len(block))
    vectors = (each.vectors(field.column, fold_of) for field, each in zip(fields, counts))
    return [each for each in vectors if each is not None]


def _common(table: Table, field: SequenceField) -> np.ndarray:
    """The indices of the items that get vectors: the commonest of a sample."""
    lookup, counts = TokenLookup(field), np.ones(field.size, np.int64)
    for block in table.blocks([field.column], _COMMON_ROWS):
        codes = lookup(block.sequences[field.column].values)
        counts += np.bincount(codes, minlength=field.size)
    counts[:FIRST_CATEGORY] = 0
    return np.sort(most_frequent(counts, MAX_CODES))


def _are_whole(train: Table, sequence: str) -> bool:
    """False if histories are cut: then a user's rows begin with different events, so the user is
    not recognized, and vectors of all rows would leak labels.
    """
    keys = [np.empty((0, 2), np.uint64)]
    for block in train.blocks([sequence], _COMMON_ROWS):
        history = block.sequences[sequence]
        # Rows of one user at one time have the same history, and so the same sum of hashes.
        sums = np.append(np.uint64(0), np.cumsum(hash64(history.values.astype(np.uint64))))
        of_rows = np.diff(sums[history.offsets])
        keys.append(np.stack([history.lengths.astype(np.uint64), of_rows], axis=1))
    lengths = np.unique(np.concatenate(keys), axis=0)[:, 0].astype(np.int64)
    if not are_cut(lengths):
        return True
    logger.warning(
        "%r: many histories have %d events and none has more, so they seem to be cut to their "
        "newest events. Rows of one user cannot be recognized in cut histories, so similarities "
        "could leak labels and are left out: name the column of users in columns.group, or of "
        "times in columns.time",
        sequence,
        int(lengths.max()),
    )
    return False


def are_cut(lengths: np.ndarray) -> bool:
    """True if distinct histories of these lengths pile up at the longest, so they must be cut.

    If histories are not cut, about as many are one event shorter. They count as cut if the longest
    outnumber these by more than a quarter and three standard errors.
    """
    longest, one_less = (np.count_nonzero(lengths == lengths.max(initial=0) - i) for i in (0, 1))
    surely_more = 1.25 * one_less + 3 * np.sqrt(longest + one_less)
    return bool(lengths.max(initial=0) > 1 and longest > surely_more)


class CoOccurrences:
    """How often the codes of a sequence co-occur, by fold, [F, K, K].

    `counted` are the codes to count, ascending, out of `size` indices.
    """

    def __init__(self, counted: np.ndarray, size: int, folds: int) -> None:
        self.codes = counted.tolist()
        self.index = np.full(size, -1, np.int64)
        self.index[counted] = np.arange(len(counted))
        self.counts = np.zeros((folds, len(counted), len(counted)), np.uint32)

    def add(self, fold: np.ndarray, histories: Ragged) -> None:
        """Count pairs in histories, indices of the sequence; `fold` [rows] has the rows' folds."""
        _count(self.index[histories.values], histories.offsets, fold, self.counts)

    def vectors(self, sequence: str, fold_of: str) -> ItemVectors | None:
        """The vectors of the counted items; None if fewer than two folds have pairs of them.

        If folds are periods, a fold's vectors are from earlier folds, else from all other folds.
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
        # The import takes a second, and many tables have no histories.
        from sklearn.utils.extmath import randomized_svd

        # With several threads, sums would be rounded in another order.
        with threadpool_limits(1, "blas"):
            left, values, _ = randomized_svd(information, dimensions, random_state=0)
        scaled = left * np.sqrt(values)
        # The vector of an item without co-occurrences is only rounding error.
        scaled[~information.any(axis=1)] = 0
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        vectors[:, :dimensions] = scaled / np.maximum(length, 1e-12)
    return vectors


@numba.njit(nogil=True)
def _count(items: np.ndarray, offsets: np.ndarray, fold: np.ndarray, counts: np.ndarray) -> None:
    for row in range(len(fold)):
        for i in range(offsets[row], offsets[row + 1]):
            for j in range(i + 1, min(i + 1 + WINDOW, offsets[row + 1])):
                if items[i] >= 0 and items[j] >= 0 and items[j] != items[i]:
                    counts[fold[row], items[i], items[j]] += 1
