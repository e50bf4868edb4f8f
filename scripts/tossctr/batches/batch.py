"""A batch: a model's inputs for some rows, and the layout of their events.

The layout is computed on the host, so that a GPU does not wait. B rows, T events of all rows, N
positions (each row's newest events, then its target), V distinct events.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

# Combinations of codes are renumbered from this number on.
MAX_CODES = 1 << 24


@dataclass(frozen=True, eq=False)
class PackedLayout:
    """Positions without padding: each row's newest events, oldest first, then its target.

        events [7, 8, 7] of row 0, [] of row 1, [7] of row 2:

        position    0   1   2   3    4    5   6
        holds       7   8   7   t0   t1   7   t2
        start_B     0                4    5        7
        row_N       0   0   0   0    1    2   2
        age_N       3   2   1   0    0    1   0     0 is the target, 1 the newest event
        slot_N     0   1   0   3    4    2   5
        event_V     0   1   3                       the first of equal events of a row: rows repeat
        row_V       0   0   2                       their codes many times

    `slot_N` numbers the distinct positions: first all distinct events, then the targets. Tensors
    are int32; `start_B` has one entry more than there are rows. At most the newest `max_len` events
    of a row have positions. `runs` has pairs (neighbouring rows of equal length, that length with
    the target): ((1, 4), (1, 1), (1, 2)).
    """

    start_B: Tensor
    row_N: Tensor
    age_N: Tensor
    slot_N: Tensor
    event_V: Tensor
    row_V: Tensor
    max_len: int
    runs: tuple[tuple[int, int], ...]

    @property
    def longest(self) -> int:
        """Positions of the longest row."""
        return max((length for _, length in self.runs), default=0)

    @classmethod
    def of(cls, history_ST: Tensor, offsets: Tensor, max_len: int) -> "PackedLayout":
        """The layout of the newest events of packed histories, which must be on the host."""
        bounds, (code_T, *others) = offsets.numpy(), history_ST.numpy()
        for other_T in others:
            # One code for each combination of codes, few enough for an array.
            code_T = code_T * (other_T.max(initial=0) + 1) + other_T
            if code_T.max(initial=0) >= MAX_CODES:
                code_T = np.unique_inverse(code_T)[1]
        if code_T.max(initial=0) > 4 * len(code_T):
            code_T = np.unique_inverse(code_T)[1]
        lengths = np.minimum(np.diff(bounds), max_len) + 1
        row_N, age_N, slot_N = np.empty((3, lengths.sum()), np.int32)
        event_E, row_E = np.empty((2, len(row_N) - len(lengths)), np.int32)
        latest = np.full(int(code_T.max(initial=0)) + 1, -1, np.int32)
        count = _lay_out(code_T, bounds, max_len, latest, row_N, age_N, slot_N, event_E, row_E)
        slot_N[age_N == 0] = count + np.arange(len(lengths))
        arrays = {
            "start_B": np.append(0, np.cumsum(lengths)).astype(np.int32),
            "row_N": row_N,
            "age_N": age_N,
            "slot_N": slot_N,
            "event_V": event_E[:count],
            "row_V": row_E[:count],
        }
        runs = tuple((sum(1 for _ in run), length) for length, run in groupby(lengths.tolist()))
        tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
        return cls(**tensors, max_len=max_len, runs=runs)


@numba.njit(nogil=True)
def _lay_out(
    codes: np.ndarray,
    bounds: np.ndarray,
    max_len: int,
    latest: np.ndarray,
    row: np.ndarray,
    age: np.ndarray,
    slot: np.ndarray,
    event: np.ndarray,
    event_row: np.ndarray,
) -> int:
    """Fill the arrays except the targets' slots, and count the distinct events.

    `latest` has the number of each code's latest distinct event.
    """
    distinct, position = 0, 0
    for b in range(len(bounds) - 1):
        # The numbers of earlier rows' events are below this.
        first = distinct
        for t in range(max(bounds[b], bounds[b + 1] - max_len), bounds[b + 1]):
            if latest[codes[t]] < first:
                latest[codes[t]], event[distinct], event_row[distinct] = distinct, t, b
                distinct += 1
            row[position], age[position] = b, bounds[b + 1] - t
            slot[position] = latest[codes[t]]
            position += 1
        row[position], age[position] = b, 0
        position += 1
    return distinct


@dataclass(frozen=True)
class Batch:
    """Inputs of B rows with T events.

    `numbers` float32 [B, columns] by numeric encoding (`numeric.py`).
    profile_BP, target_BG, context_BC int64 indices. history_ST int64 [sequence fields, events of
    all rows]: row b is offsets[b]:offsets[b+1], newest last. `elapsed_T` int64: the row's time
    minus the event's, 0 if the event is later; None in a table without times. `row_B` int64: index
    of each row in its table. `label_B` float32, None without labels. `layout` may have positions
    only for the newest events. `shared_rows`: rows of the whole batch if this is one rank's share
    of it, else None.

        histories [[7, 8], [], [9]]:   history_ST [[7, 8, 9]], offsets [0, 2, 2, 3]
    """

    numbers: Mapping[str, Tensor]
    profile_BP: Tensor
    target_BG: Tensor
    context_BC: Tensor
    row_B: Tensor
    label_B: Tensor | None
    history_ST: Tensor
    elapsed_T: Tensor | None
    offsets: Tensor
    layout: PackedLayout
    shared_rows: int | None = None

    def __len__(self) -> int:
        return len(self.row_B)

    @property
    def step_rows(self) -> int:
        """Rows that a step's loss averages over: the rows of all ranks' shares."""
        return len(self) if self.shared_rows is None else self.shared_rows

    def rows(self, start: int, stop: int) -> "Batch":
        """The rows start to stop as a batch of their own."""
        if (start, stop) == (0, len(self)):
            return self
        offsets = self.offsets[start : stop + 1]
        events = slice(int(offsets[0]), int(offsets[-1]))
        history_ST, offsets = self.history_ST[:, events], offsets - offsets[0]
        return replace(
            self,
            numbers={name: numbers[start:stop] for name, numbers in self.numbers.items()},
            profile_BP=self.profile_BP[start:stop],
            target_BG=self.target_BG[start:stop],
            context_BC=self.context_BC[start:stop],
            row_B=self.row_B[start:stop],
            label_B=None if self.label_B is None else self.label_B[start:stop],
            history_ST=history_ST,
            elapsed_T=None if self.elapsed_T is None else self.elapsed_T[events],
            offsets=offsets,
            layout=PackedLayout.of(history_ST, offsets, self.layout.max_len),
        )

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`; the host does not wait if the batch is pinned."""
        return _changed(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same batch in pinned memory, which a GPU copies asynchronously."""
        return _changed(self, Tensor.pin_memory)


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A batch or a field's value with `change` applied to all its tensors."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _changed(each, change) for name, each in value.items()}
    if isinstance(value, Batch | PackedLayout):
        return replace(value, **_changed(vars(value), change))
    return value
