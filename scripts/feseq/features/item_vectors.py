"""Vectors of items, by which of them stand together in histories, and similarities by these.

Two items stand together if one is among the WINDOW events behind the other in a history. The
positive pointwise mutual information of items is reduced to DIMENSIONS by a singular value
decomposition (Levy and Goldberg, NeurIPS 2014), and each vector to length 1. No click is needed: a
table of few clicks has many events.

A row's own events, and the same user's later ones, tell of its label: an item that was liked stands
in the next history of its user. So a train row has vectors of other rows, by its fold: `of_older`
or `of_other_folds`.

Legend: F folds, V indices of a sequence, K of them counted, D dimensions.
"""

from typing import NamedTuple

import numba
import numpy as np
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from ..common.ragged import Ragged

WINDOW = 20
DIMENSIONS = 24
# Only so many codes, the commonest, have vectors.
MOST_CODES = 2_048
# The similarities of a row's target: to the mean of its history's vectors, to the newest, and to
# the nearest of them.
SIMILARITIES = ("history", "newest event", "nearest event")


class ItemVectors(NamedTuple):
    """Vectors of items by fold, float32 [F, K + 1, D], and the `place` of each index, int32 [V].

    Place 0 is that of an index without a vector, and has zeros.
    """

    place: np.ndarray
    vectors: np.ndarray

    def check(self, size: int) -> None:
        """Raise ValueError unless these are the vectors of a sequence of this size, of one fold."""
        place, vectors = self
        if place.dtype != np.int32 or place.shape != (size,):
            raise ValueError("the places of vectors are not those of the sequence")
        if vectors.dtype != np.float32 or vectors.ndim != 3 or not np.isfinite(vectors).all():
            raise ValueError("the vectors are none")
        if vectors.shape[0] != 1 or place.min() < 0 or place.max() >= vectors.shape[1]:
            raise ValueError("places lead beyond the vectors")


class Together:
    """How often the codes of a sequence stand together, by fold, [F, K, K].

    `counted` are those that are counted, ascending, of `size` indices.
    """

    def __init__(self, counted: np.ndarray, size: int, folds: int) -> None:
        self.place = np.zeros(size, np.int32)
        self.place[counted] = np.arange(1, len(counted) + 1)
        self.counts = np.zeros((folds, len(counted), len(counted)), np.uint32)

    def add(self, fold: np.ndarray, histories: Ragged) -> None:
        """Count the histories of rows, indices of the sequence, with each row's fold, [rows]."""
        _count(self.place[histories.values] - 1, histories.offsets, fold, self.counts)

    def of_all(self) -> ItemVectors:
        """Vectors of all rows, in one fold."""
        total = self.counts.sum(axis=0, dtype=np.float64)
        return ItemVectors(self.place, self._vectors(total)[None])

    def of_other_folds(self) -> ItemVectors:
        """Vectors for each fold's rows, of the rows of all other folds."""
        total = self.counts.sum(axis=0, dtype=np.float64)
        vectors = [self._vectors(total - count) for count in self.counts]
        return ItemVectors(self.place, np.stack(vectors))

    def of_older(self) -> ItemVectors:
        """Vectors for each fold's rows, of the rows of earlier folds."""
        older, vectors = np.zeros(self.counts.shape[1:], np.float64), []
        for count in self.counts:
            vectors.append(self._vectors(older))
            older = older + count
        return ItemVectors(self.place, np.stack(vectors))

    def _vectors(self, counts: np.ndarray) -> np.ndarray:
        """The vectors of counts [K, K], float32 [K + 1, D]."""
        vectors = np.zeros((len(counts) + 1, DIMENSIONS), np.float32)
        both = counts + counts.T
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
            # Of an item that stands with none, what is left is rounding.
            scaled[~information.any(axis=1)] = 0
            length = np.linalg.norm(scaled, axis=1, keepdims=True)
            vectors[1:, :dimensions] = scaled / np.maximum(length, 1e-12)
        return vectors


def commonest(count_V: np.ndarray) -> np.ndarray:
    """The codes that have vectors: the commonest, ascending; the lower among equals."""
    order = np.argsort(-count_V, kind="stable")[:MOST_CODES]
    return np.sort(order[count_V[order] > 0])


def similarities(
    items: ItemVectors, fold: np.ndarray, histories: Ragged, target: np.ndarray
) -> np.ndarray:
    """The cosines of each row's target, float32 [rows, SIMILARITIES].

    `fold` and `target` int64 [rows]: whose vectors, and the target's index. NaN where the target or
    no event has a vector; the newest event is the newest that has one.
    """
    cosines = np.full((len(histories), len(SIMILARITIES)), np.nan, np.float32)
    event_place, target_place = items.place[histories.values], items.place[target]
    _compare(items.vectors, fold, event_place, histories.offsets, target_place, cosines)
    return cosines


@numba.njit(nogil=True)
def _count(places: np.ndarray, offsets: np.ndarray, fold: np.ndarray, counts: np.ndarray) -> None:
    for row in range(len(fold)):
        for i in range(offsets[row], offsets[row + 1]):
            if places[i] < 0:
                continue
            for j in range(i + 1, min(i + 1 + WINDOW, offsets[row + 1])):
                if places[j] >= 0 and places[j] != places[i]:
                    counts[fold[row], places[i], places[j]] += 1


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
