"""The layout of a batch's positions, computed on the host so that a GPU does not wait.

B rows, T events of all rows, N positions (each row's newest events, then its target), V distinct
events.
"""

from dataclasses import dataclass
from itertools import groupby

import numba
import numpy as np
import torch
from torch import Tensor

from ..common.arrays import GOLDEN


@dataclass(frozen=True, eq=False)
class Layout:
    """Positions without padding: each row's newest events, oldest first, then its target.

        events [7, 8, 7] of row 0, [] of row 1, [7] of row 2:

        position    0   1   2   3    4    5   6
        holds       7   8   7   t0   t1   7   t2
        start_B     0                4    5        7
        row_N       0   0   0   0    1    2   2
        age_N       3   2   1   0    0    1   0     0 is the target, 1 the newest event
        place_N     0   1   0   3    4    2   5
        event_V     0   1   3                       the first of equal events of a row: rows repeat
        row_V       0   0   2                       their codes many times

    `place_N` counts the distinct positions: all distinct events, then the targets. Tensors are
    int32; `start_B` has one entry more than there are rows. At most the newest `max_len` events of
    a row have positions. `runs` has the number of neighbouring rows of one length, and that length
    with the target: ((1, 4), (1, 1), (1, 2)).
    """

    start_B: Tensor
    row_N: Tensor
    age_N: Tensor
    place_N: Tensor
    event_V: Tensor
    row_V: Tensor
    max_len: int
    runs: tuple[tuple[int, int], ...]

    @property
    def longest(self) -> int:
        """Positions of the longest row."""
        return max((length for _, length in self.runs), default=0)

    @classmethod
    def of(cls, history_ST: Tensor, offsets: Tensor, max_len: int) -> "Layout":
        """The layout of the newest events of packed histories, which lie on the host."""
        codes, bounds = history_ST.numpy(), offsets.numpy()
        lengths = np.minimum(np.diff(bounds), max_len) + 1
        positions = int(lengths.sum())
        events = positions - len(lengths)
        row, age, place = np.empty((3, positions), np.int32)
        event, event_row = np.empty((2, events), np.int32)
        # At most half full, so that a code's slot is near.
        slots = np.full(1 << int(2 * lengths.max(initial=1)).bit_length(), -1, np.int32)
        distinct = _lay_out(codes, bounds, max_len, slots, row, age, place, event, event_row)
        arrays = {
            "start_B": np.concatenate(([0], np.cumsum(lengths))).astype(np.int32),
            "row_N": row,
            "age_N": age,
            "place_N": place,
            "event_V": event[:distinct],
            "row_V": event_row[:distinct],
        }
        runs = tuple((sum(1 for _ in run), length) for length, run in groupby(lengths.tolist()))
        tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
        return cls(**tensors, max_len=max_len, runs=runs)


@numba.njit(nogil=True)
def _lay_out(
    codes: np.ndarray,
    bounds: np.ndarray,
    max_len: int,
    slots: np.ndarray,
    row: np.ndarray,
    age: np.ndarray,
    place: np.ndarray,
    event: np.ndarray,
    event_row: np.ndarray,
) -> int:
    """Fill the arrays behind `slots`, a hash table, and count the distinct events."""
    distinct, position = 0, 0
    for b in range(len(bounds) - 1):
        # Slots of earlier rows count as empty.
        first = distinct
        for t in range(max(bounds[b], bounds[b + 1] - max_len), bounds[b + 1]):
            key = np.uint64(0)
            for s in range(len(codes)):
                key = (key + np.uint64(codes[s, t])) * GOLDEN
            slot = np.int64(key >> np.uint64(32)) & (len(slots) - 1)
            while slots[slot] >= first and not _are_equal(codes, event[slots[slot]], t):
                slot = (slot + 1) & (len(slots) - 1)
            if slots[slot] < first:
                slots[slot], event[distinct], event_row[distinct] = distinct, t, b
                distinct += 1
            row[position], age[position] = b, bounds[b + 1] - t
            place[position] = slots[slot]
            position += 1
        row[position], age[position] = b, 0
        position += 1
    for n in range(position):
        if age[n] == 0:
            place[n] = distinct + row[n]
    return distinct


@numba.njit(nogil=True)
def _are_equal(codes: np.ndarray, one: int, other: int) -> bool:
    equal = True
    for s in range(len(codes)):
        equal &= codes[s, one] == codes[s, other]
    return equal
