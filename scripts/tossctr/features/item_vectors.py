"""Vectors of items, as a feature map has them: those of `co_occurrence.py`, by fold.

A row's own events, and the same user's later ones, tell of its label: an item that was liked stands
in the next history of its user. So a train row has vectors of other rows, by its fold, and so has
a row that was held out at random, whose user's later rows may be train rows.

Legend: F folds, V indices of a sequence, K of them with a vector, D dimensions.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..common.arrays import Ragged, hashed_below
from ..datasets.table import Block

DIMENSIONS = 24


@dataclass(frozen=True)
class ItemVectors:
    """The vectors of a sequence's items, as plain values of a feature map.

    `fold_of` is what a train row's fold is: its "period", whose vectors are of older ones; else its
    group's "fold", or that of a "history", which begins alike in all rows of a user.
    `codes`, ascending, are the indices that have one. `data` is base64 of float32 [F + 1, K, D],
    little-endian: the vectors for each fold of the rows, and those for rows without a fold.
    """

    sequence: str
    fold_of: str
    codes: list[int]
    data: str

    @classmethod
    def of(
        cls, sequence: str, fold_of: str, codes: Sequence[int], vectors: np.ndarray
    ) -> "ItemVectors":
        """Those of the `codes`, in any order, float32 [F + 1, K, D]."""
        order = np.argsort(codes)
        data = base64.b64encode(vectors[:, order].astype("<f4").tobytes()).decode()
        return cls(sequence, fold_of, np.array(codes)[order].tolist(), data)

    @cached_property
    def vectors(self) -> np.ndarray:
        """float32 [F + 1, K + 1, D]; place 0 has zeros, for all indices without a vector."""
        numbers = np.frombuffer(base64.b64decode(self.data, validate=True), "<f4")
        shaped = numbers.reshape(-1, len(self.codes), DIMENSIONS)
        return np.pad(shaped.astype(np.float32), ((0, 0), (1, 0), (0, 0)))

    def places(self, size: int) -> np.ndarray:
        """The place of each index, int64 [size]."""
        place = np.zeros(size, np.int64)
        place[self.codes] = np.arange(1, len(self.codes) + 1)
        return place

    def for_other_rows(self) -> "ItemVectors":
        """The last vectors alone, for rows without a fold."""
        return self.of(self.sequence, self.fold_of, self.codes, self.vectors[-1:, 1:])


def folds(fold_of: str, block: Block, rows: np.ndarray, sequence: str, count: int) -> np.ndarray:
    """The fold of each of these rows for a sequence's vectors, int64 [rows], below `count`."""
    if fold_of == "history":
        if block.first_events is not None:
            return hashed_below(block.first_events[sequence][rows], count)
        return hashed_below(first_events(block.sequences[sequence], rows), count)
    return getattr(block, fold_of)[rows].astype(np.int64)


def first_events(history: Ragged, rows: np.ndarray) -> np.ndarray:
    """The first token of these rows' histories, uint64 [rows], 0 without events.

    Tokens, since indices move where a refit extends a feature map.
    """
    first, has_events = np.zeros(len(rows), np.uint64), history.lengths[rows] > 0
    first[has_events] = history.values[history.offsets[:-1][rows[has_events]]]
    return first
