"""How similar a row's target is to its history, by the cosine of item vectors.

    similarities: TARGET and all events of HISTORY      cosine to the sum of the events' vectors
    similarities: TARGET and newest event of HISTORY    cosine to the newest event with a vector
    similarities: TARGET and nearest event of HISTORY   largest cosine to an event

A value is missing if the target or all events lack a vector. These columns need histories that
share their target's codes.

A row's own events and its user's later events leak its label: a clicked item occurs in the user's
next history. So a train row's vectors are from other rows, chosen by its fold. The same is true for
a row held out at random, whose user's later rows may be train rows.
"""

from collections.abc import Mapping, Sequence

import numba
import numpy as np

from ..common.arrays import Ragged, hash_below
from ..datasets.table import Block
from .feature_map import FeatureMap, SequenceField

# What the target is compared with.
COMPARED = ("all events", "newest event", "nearest event")


def similarity_names(sequences: Sequence[SequenceField]) -> list[str]:
    """The names of the similarity columns."""
    return [
        f"similarities: {field.shared_with} and {what} of {field.column}"
        for field in sequences
        if field.shared_with
        for what in COMPARED
    ]


class SimilarityColumns:
    """The similarity columns of a feature map's histories.

    `split` is the rows' split in the draw that the feature map was fitted to; None for other rows.
    """

    def __init__(self, feature_map: FeatureMap, split: str | None) -> None:
        self.split, self.sequences = split, feature_map.sequences
        self.columns = similarity_names(feature_map.sequences)
        sizes = {field.column: field.size for field in feature_map.sequences}
        # By sequence: the vectors, and which of them each index of the sequence has.
        self.vectors = {
            items.sequence: (items, items.indices(sizes[items.sequence]))
            for items in feature_map.item_vectors
        }

    def __call__(
        self, block: Block, histories: Sequence[Ragged], categories: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """The columns of the rows of a block, float32 [rows, columns].

        `histories` are the rows' histories as indices, in the feature map's order; `categories` has
        the targets' indices by column, int64 [rows], -1 where unknown.
        """
        columns = [np.empty((len(block), 0), np.float32)]
        for field, history in zip(self.sequences, histories):
            if field.shared_with is None:
                continue
            cosines = np.full((len(block), len(COMPARED)), np.nan, np.float32)
            if field.column in self.vectors:
                items, vector = self.vectors[field.column]
                last = len(items.vectors) - 1
                fold = np.full(len(block), last)
                # An export has only the last vectors.
                if last and (has_fold := self._has_fold(items.fold_of, block)).any():
                    fold = np.where(has_fold, folds(items.fold_of, block, field.column, last), last)
                # Index 0 has no vector.
                of_target = vector[np.maximum(categories[field.shared_with], 0)]
                of_events = vector[history.values]
                _compare(items.vectors, fold, of_events, history.offsets, of_target, cosines)
            columns.append(cosines)
        return np.concatenate(columns, axis=1)

    def _has_fold(self, fold_of: str, block: Block) -> np.ndarray:
        """Which of the rows use the vectors of a fold, bool [rows].

        Train rows do. Validation rows held out at random do, since their clicks may be events of
        train rows. Rows held out by group and newer rows do not.
        """
        if self.split in ("train", ""):
            return np.ones(len(block), bool)
        if self.split is None or fold_of != "history" or block.period is None:
            return np.zeros(len(block), bool)
        return block.period == 0


def folds(fold_of: str, block: Block, sequence: str, count: int) -> np.ndarray:
    """The fold of each row for a sequence's vectors, int64 [rows], below `count`."""
    if fold_of == "history":
        noted = block.first_events
        first = first_events(block.sequences[sequence]) if noted is None else noted[sequence]
        return hash_below(first, count)
    return getattr(block, fold_of).astype(np.int64)


def first_events(history: Ragged) -> np.ndarray:
    """The first token of each history, uint64 [rows], 0 without events.

    Tokens are used, since indices change when a refit extends a feature map.
    """
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
