"""How similar a row's target is to the events of its history: cosines of item vectors.

    similarities: TARGET and all events of HISTORY      cosine to the sum of the events' vectors
    similarities: TARGET and newest event of HISTORY    cosine to the newest event with a vector
    similarities: TARGET and nearest event of HISTORY   largest cosine to an event

A value is missing if the target or all events lack a vector. The columns need histories that
share their target's codes.

Vectors from a user's later rows would leak a row's label: a clicked item occurs in the next
history. So the vectors for a train row come from rows of other folds. The same holds for a row held
out at random, since later rows of its user may be train rows.
"""

from collections.abc import Mapping, Sequence

import numba
import numpy as np

from ..common.arrays import Ragged, hash_below
from ..datasets.table import Block
from .feature_map import FeatureMap, SequenceField

# The parts of the history that the target is compared with.
COMPARISONS = ("all events", "newest event", "nearest event")


def similarity_names(sequences: Sequence[SequenceField]) -> list[str]:
    """The names of the columns that SimilarityColumns computes from `sequences`."""
    return [
        f"similarities: {field.shared_with} and {what} of {field.column}"
        for field in sequences
        if field.shared_with
        for what in COMPARISONS
    ]


class SimilarityColumns:
    """Computes numeric columns: how similar a row's target is to the events of its history.

    `split` is None for rows from another table than the feature map was fitted on. Otherwise, it
    names the rows: "train", "validation", or "" for both.
    """

    def __init__(self, feature_map: FeatureMap, split: str | None) -> None:
        self.split, self.sequences = split, feature_map.sequences
        self.columns = similarity_names(feature_map.sequences)
        sizes = {field.column: field.size for field in feature_map.sequences}
        # By sequence: the item vectors, and the item of each index of the sequence.
        self.vectors = {
            items.sequence: (items, items.indices(sizes[items.sequence]))
            for items in feature_map.item_vectors
        }

    def __call__(
        self, block: Block, histories: Sequence[Ragged], categories: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """The numeric columns for the rows of a block, float32 [rows, columns].

        `histories` has the events' vocabulary indices for each sequence of the feature map.
        `categories` has the rows' indices by column, int64 [rows], -1 if unknown.
        """
        columns = [np.empty((len(block), 0), np.float32)]
        for field, history in zip(self.sequences, histories):
            if field.shared_with is None:
                continue
            cosines = np.full((len(block), len(COMPARISONS)), np.nan, np.float32)
            if field.column in self.vectors:
                items, item_of = self.vectors[field.column]
                last = len(items.vectors) - 1
                fold = np.full(len(block), last)
                if (has_fold := self._uses_fold(items.fold_of, block)).any():
                    row_fold = row_folds(items.fold_of, block, field.column, last)
                    fold = np.where(has_fold, row_fold, last)
                # Index 0 has no vector.
                target_item = item_of[np.maximum(categories[field.shared_with], 0)]
                event_items = item_of[history.values]
                _compare(items.vectors, fold, event_items, history.offsets, target_item, cosines)
            columns.append(cosines)
        return np.concatenate(columns, axis=1)

    def _uses_fold(self, fold_of: str, block: Block) -> np.ndarray:
        """True for rows that use the vectors of their fold, bool [rows].

        These are train rows and validation rows held out at random, whose clicks may be events of
        train rows. Rows held out by group or time use the vectors for rows without a fold.
        """
        if self.split in ("train", ""):
            return np.ones(len(block), bool)
        if self.split is None or fold_of != "history" or block.period is None:
            return np.zeros(len(block), bool)
        return block.period == 0


def row_folds(fold_of: str, block: Block, sequence: str, count: int) -> np.ndarray:
    """The fold of each row, int64 [rows], from 0 to `count` - 1.

    Rows share a fold if they share a time interval (`fold_of` is "period"), a group ("fold"), or
    the first event of `sequence` ("history").
    """
    if fold_of == "history":
        given = block.first_events
        first = first_events(block.sequences[sequence]) if given is None else given[sequence]
        return hash_below(first, count)
    return getattr(block, fold_of).astype(np.int64)


def first_events(history: Ragged) -> np.ndarray:
    """The first token of each history, uint64 [rows]; 0 without events."""
    # Not its vocabulary index, which changes when a refit extends the feature map.
    first, has_events = np.zeros(len(history), np.uint64), history.lengths > 0
    first[has_events] = history.values[history.offsets[:-1][has_events]]
    return first


@numba.njit(nogil=True)
def _compare(
    vectors: np.ndarray,
    fold: np.ndarray,
    events: np.ndarray,
    offsets: np.ndarray,
    target: np.ndarray,
    cosines: np.ndarray,
) -> None:
    total = np.zeros(vectors.shape[2])
    for row in range(len(fold)):
        item = vectors[fold[row], target[row]]
        if not item.any():
            continue
        total[:] = 0
        nearest, newest, has_event = -2.0, 0.0, False
        for i in range(offsets[row], offsets[row + 1]):
            event = vectors[fold[row], events[i]]
            cosine, length = 0.0, 0.0
            for d in range(len(total)):
                total[d] += event[d]
                cosine += event[d] * item[d]
                length += event[d] * event[d]
            if length > 0:
                has_event, newest = True, cosine
                nearest = max(nearest, cosine)
        if has_event:
            product, length = 0.0, 0.0
            for d in range(len(total)):
                product += total[d] * item[d]
                length += total[d] * total[d]
            cosines[row, 0] = product / np.sqrt(length) if length > 0 else 0
            cosines[row, 1], cosines[row, 2] = newest, nearest
