"""How near a row's target is to its history, by vectors of items (`item_vectors.py`).

    similarities: TARGET and all events of HISTORY      the cosine of the item's vector and the sum
                                                        of the events'
    similarities: TARGET and newest event of HISTORY    that of the newest event that has a vector
    similarities: TARGET and nearest event of HISTORY   the largest that an event has

Missing where the target or no event has a vector. These columns need histories whose codes are
those of their target. Rows that the feature map was fitted to have vectors of other rows, and so
have rows that were held out at random.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numba
import numpy as np

from ..common.arrays import Ragged
from ..datasets.table import Block
from .item_vectors import folds

if TYPE_CHECKING:
    from .feature_map import FeatureMap, SequenceField

# What the target is compared with.
COMPARED = ("all events", "newest event", "nearest event")


def similarity_names(sequences: Sequence["SequenceField"]) -> list[str]:
    """The names of these columns."""
    return [
        f"similarities: {field.shared_with} and {what} of {field.column}"
        for field in sequences
        if field.shared_with
        for what in COMPARED
    ]


class SimilarityColumns:
    """These columns of a feature map's histories.

    `side` is the rows' side in the draw that the feature map was fitted to; None for other rows.
    """

    def __init__(self, feature_map: "FeatureMap", side: str | None) -> None:
        self.side = side
        self.columns = similarity_names(feature_map.sequences)
        self.vectors = {each.sequence: each for each in feature_map.item_vectors}
        # The place and the name of each history that has its target's codes, and the target.
        self.matched: list[tuple[int, str, str]] = []
        self.places: dict[str, np.ndarray] = {}
        for i, field in enumerate(feature_map.sequences):
            if field.shared_with:
                self.matched.append((i, field.column, field.shared_with))
            if field.column in self.vectors:
                self.places[field.column] = self.vectors[field.column].places(field.size)

    def __call__(
        self,
        block: Block,
        rows: np.ndarray,
        histories: Sequence[Ragged],
        categories: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """The columns of these rows of a block, float32 [rows, columns].

        `histories` are those of the rows, indices of the feature map in its order; `categories` by
        column, int64 [rows], are those of targets, -1 where unknown.
        """
        columns = [np.empty((len(rows), 0), np.float32)]
        for i, name, target in self.matched:
            cosines = np.full((len(rows), len(COMPARED)), np.nan, np.float32)
            if name in self.vectors:
                items, place, history = self.vectors[name], self.places[name], histories[i]
                last = len(items.vectors) - 1
                fold = np.full(len(rows), last)
                # An export has the last ones alone.
                if last and (has_fold := self._has_fold(items.fold_of, block, rows)).any():
                    fold[has_fold] = folds(items.fold_of, block, rows[has_fold], name, last)
                of_target = np.where(categories[target] < 0, 0, place[categories[target]])
                of_events = place[history.values]
                _compare(items.vectors, fold, of_events, history.offsets, of_target, cosines)
            columns.append(cosines)
        return np.concatenate(columns, axis=1)

    def _has_fold(self, fold_of: str, block: Block, rows: np.ndarray) -> np.ndarray:
        """Which of the rows have the vectors of a fold, bool [rows].

        Train rows do. Held-out rows of the same period do, since histories of train rows may hold
        what their user chose in them; where rows are held out by group or are newer, none does.
        """
        if self.side in ("train", ""):
            return np.ones(len(rows), bool)
        if self.side is None or fold_of != "history" or block.period is None:
            return np.zeros(len(rows), bool)
        return block.period[rows] == 0


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
