"""Item vectors from the co-occurrence of items in histories.

Two items co-occur if one follows the other within WINDOW events of a history. A singular value
decomposition reduces the items' positive pointwise mutual information (PPMI) to DIMENSIONS (Levy
and Goldberg, NeurIPS 2014), and each vector is scaled to length 1. Labels are not used.

A row's label must not leak into its vectors. So rows are divided into folds, and each fold has
vectors that are computed from other rows.
"""

import base64
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
from .similarities import row_folds

logger = logging.getLogger(__name__)

WINDOW = 20
# The commonest items have vectors, at most this many.
MAX_ITEMS = 2_048
# Maximum rows for counting co-occurrences, and for counting items.
_CO_OCCURRENCE_ROWS, _COMMON_ROWS = 1_000_000, 100_000


def fit_item_vectors(
    table: Table, train_h5: Files, sequences: Sequence[SequenceField]
) -> list[ItemVectors]:
    """Compute the item vectors of each sequence that shares the vocabulary of its target.

    The vectors are computed from the histories in `table`. In a refit, `table` also has the
    validation rows, but the train files `train_h5` alone decide what a fold is.
    """
    fields = [field for field in sequences if field.shared_with]
    with open_table(train_h5) as train:
        if period_count(train) > 1:
            fold_of = "period"
        else:
            fold_of = "fold" if train.column("fold").any() else "history"
        if fold_of == "history":
            fields = [field for field in fields if _has_whole_histories(train, field.column)]
    if not fields:
        return []
    count = period_count(table) if fold_of == "period" else FOLDS
    lookups = [TokenLookup(field) for field in fields]
    counts = [CoOccurrences(_vector_items(table, field), field.size, count) for field in fields]
    counting = Progress("counted co-occurrences", min(table.rows, _CO_OCCURRENCE_ROWS))
    for block in table.blocks([field.column for field in fields], _CO_OCCURRENCE_ROWS):
        for lookup, co_occurrences in zip(lookups, counts):
            events = block.sequences[lookup.column]
            history = Ragged(lookup(events.values), events.offsets)
            co_occurrences.add(row_folds(fold_of, block, lookup.column, count), history)
        counting.advance(len(block))
    vectors = (each.vectors(field.column, fold_of) for field, each in zip(fields, counts))
    return [each for each in vectors if each is not None]


def _vector_items(table: Table, field: SequenceField) -> np.ndarray:
    """The indices of the commonest items of a sample, ascending; these items get vectors."""
    lookup, counts = TokenLookup(field), np.ones(field.size, np.int64)
    for block in table.blocks([field.column], _COMMON_ROWS):
        codes = lookup(block.sequences[field.column].values)
        counts += np.bincount(codes, minlength=field.size)
    counts[:FIRST_CATEGORY] = 0
    return np.sort(most_frequent(counts, MAX_ITEMS))


def _has_whole_histories(train: Table, sequence: str) -> bool:
    """True if histories are not cut at the start, so all rows of a user share a first event."""
    keys = [np.empty((0, 2), np.uint64)]
    for block in train.blocks([sequence], _COMMON_ROWS):
        history = block.sequences[sequence]
        # Rows of one user at one time have the same history, and so the same sum of hashes.
        sums = np.append(np.uint64(0), np.cumsum(hash64(history.values.astype(np.uint64))))
        row_sums = np.diff(sums[history.offsets])
        keys.append(np.stack([history.lengths.astype(np.uint64), row_sums], axis=1))
    lengths = np.unique(np.concatenate(keys), axis=0)[:, 0].astype(np.int64)
    if not are_truncated(lengths):
        return True
    logger.warning(
        "column %r: many histories have %d events and none has more, so they seem cut to the "
        "newest events. Similarity features could then leak labels and are left out. To use them, "
        "set `columns.group` to the user column or `columns.time` to the time column",
        sequence,
        int(lengths.max()),
    )
    return False


def are_truncated(lengths: np.ndarray) -> bool:
    """True if distinct histories with these lengths seem to be cut to a maximum length.

    If so, the longest outnumber those one event shorter by more than 25 % plus three standard
    errors.
    """
    longest, one_less = (np.count_nonzero(lengths == lengths.max(initial=0) - i) for i in (0, 1))
    surely_more = 1.25 * one_less + 3 * np.sqrt(longest + one_less)
    return bool(lengths.max(initial=0) > 1 and longest > surely_more)


class CoOccurrences:
    """Counts how often one item follows another in a history: uint32 [folds, items, items].

    `items` has the vocabulary indices of the items to count, ascending. The vocabulary has `size`
    indices.
    """

    def __init__(self, items: np.ndarray, size: int, folds: int) -> None:
        self.items = items.tolist()
        self.slot = np.full(size, -1, np.int64)
        self.slot[items] = np.arange(len(items))
        self.counts = np.zeros((folds, len(items), len(items)), np.uint32)

    def add(self, fold: np.ndarray, histories: Ragged) -> None:
        """Count the pairs in `histories` (vocabulary indices); `fold` has each row's fold."""
        _count(self.slot[histories.values], histories.offsets, fold, self.counts)

    def vectors(self, sequence: str, fold_of: str) -> ItemVectors | None:
        """The item vectors of `sequence`; None if fewer than two folds have pairs of items.

        A fold gets vectors from all other folds or, if folds are periods, from earlier ones.
        """
        if np.count_nonzero(self.counts.any(axis=(1, 2))) < 2:
            return None
        total = self.counts.sum(axis=0, dtype=np.float64)
        fold_vectors, earlier = [], np.zeros_like(total)
        for count in self.counts:
            fold_vectors.append(ppmi_vectors(earlier if fold_of == "period" else total - count))
            earlier += count
        stacked = np.stack([*fold_vectors, ppmi_vectors(total)]).astype("<f4")
        data = base64.b64encode(stacked.tobytes()).decode()
        return ItemVectors(sequence, fold_of, self.items, data)


def ppmi_vectors(counts: np.ndarray) -> np.ndarray:
    """A vector for each item from counts of pairs, float32 [items, DIMENSIONS].

    counts[i, j] says how often item j follows item i. An item without pairs has the zero vector.
    """
    vectors = np.zeros((len(counts), DIMENSIONS), np.float32)
    both = counts.astype(np.float64)
    both = both + both.T
    total = both.sum(axis=1)
    expected = np.outer(total, total) / max(1.0, total.sum())
    ratio = np.divide(both, expected, out=np.ones_like(both), where=both > 0)
    ppmi = np.log(np.maximum(ratio, 1))
    dimensions = min(DIMENSIONS, len(both))
    if ppmi.any():
        # The import takes a second, and many tables have no histories.
        from sklearn.utils.extmath import randomized_svd

        # With several threads, sums would be rounded in another order.
        with threadpool_limits(1, "blas"):
            left, values, _ = randomized_svd(ppmi, dimensions, random_state=0)
        scaled = left * np.sqrt(values)
        # The vector of an item without co-occurrences is only rounding error.
        scaled[~ppmi.any(axis=1)] = 0
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
