"""How near a row's target is to its history, by vectors of items (`item_vectors.py`).

    similarities: TARGET and all events of HISTORY      the cosine of the item's vector and the sum
                                                        of the events'
    similarities: TARGET and newest event of HISTORY    that of the newest event that has a vector
    similarities: TARGET and nearest event of HISTORY   the largest that an event has

Missing where the target or no event has a vector. These columns need histories whose codes are
those of their target. Rows that the feature map was fitted to have vectors of other rows.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numba
import numpy as np

from ..common.errors import UserError
from ..common.ragged import Ragged
from ..storage.block import Block
from .item_vectors import ItemVectors, folds

if TYPE_CHECKING:
    from .feature_map import FeatureMap

# What the target is compared with.
COMPARED = ("all events", "newest event", "nearest event")


class SimilarityColumns:
    """These columns of a feature map's histories.

    `is_fitted` is true for rows that the feature map was fitted to.
    """

    def __init__(self, feature_map: "FeatureMap", is_fitted: bool = False) -> None:
        self.is_fitted = is_fitted
        self.vectors = {each.sequence: each for each in feature_map.item_vectors}
        # The histories that have their target's codes, by their place.
        self.matched = [(i, f) for i, f in enumerate(feature_map.sequences) if f.shared_with]
        self.places = {
            field.column: self.vectors[field.column].places(field.size)
            for _, field in self.matched
            if field.column in self.vectors
        }
        self.columns = [
            f"similarities: {field.shared_with} and {what} of {field.column}"
            for _, field in self.matched
            for what in COMPARED
        ]

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
        for i, field in self.matched:
            cosines = np.full((len(rows), len(COMPARED)), np.nan, np.float32)
            if field.column in self.vectors:
                items, history = self.vectors[field.column], histories[i]
                fold = self._fold(items, block, rows, history)
                place, target = self.places[field.column], categories[field.shared_with or ""]
                of_target = np.where(target < 0, 0, place[target])
                of_events = place[history.values]
                _compare(items.vectors, fold, of_events, history.offsets, of_target, cosines)
            columns.append(cosines)
        return np.concatenate(columns, axis=1)

    def _fold(
        self, items: ItemVectors, block: Block, rows: np.ndarray, history: Ragged
    ) -> np.ndarray:
        """Whose vectors each row has, int64 [rows]."""
        count = len(items.vectors) - 1
        # A model's file has the last ones alone.
        if not self.is_fitted or not count:
            return np.full(len(rows), count)
        fold = folds(items.fold_of, block, rows, history, count)
        if len(fold) and fold.max() >= count:
            raise UserError(
                f"the feature map has vectors of items for {count} folds, and a train row is of "
                f"fold {fold.max()}: delete the folders in data/h5 and run the same command "
                f"again, they are rebuilt"
            )
        return fold


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
