"""A batch: a model's inputs for some rows, and the layout of their events.

The layout is computed on the host, so that a GPU does not wait for it. Legend: B rows, T events of
all rows, N positions (each row's newest events, then its target), V distinct events of rows,
P profile columns, G targets, C context columns, S sequences.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

# Codes of combinations stay below this; larger codes are renumbered.
CODE_LIMIT = 1 << 24


@dataclass(frozen=True, eq=False)
class PackedLayout:
    """Where each row's events are in a batch without padding.

    A row's positions are its newest events, at most `max_len`, the oldest first, and then its
    target.

        events [7, 8, 7] of row 0, [] of row 1, [7] of row 2, the batch's events numbered 0 to 3:

        position    0   1   2   3    4    5   6
        holds       7   8   7   t0   t1   7   t2
        start_B     0                4    5        7     each row's first position, and the end
        row_N       0   0   0   0    1    2   2          the row
        age_N       3   2   1   0    0    1   0          0 is the target, 1 the newest event
        slot_N      0   1   0   3    4    2   5          index in event_V; targets come after it
        event_V     0   1   3                            the first of each row's equal events
        row_V       0   0   2                            their rows

    Equal events of a row have one slot, and can be encoded once. Tensors are int32. `runs` has a
    pair for each run of consecutive rows of equal length, (number of rows, positions per row):
    ((1, 4), (1, 1), (1, 2)).
    """

    start_B: Tensor
    row_N: Tensor
    age_N: Tensor
    slot_N: Tensor
    event_V: Tensor
    row_V: Tensor
    max_len: int
    runs: tuple[tuple[int, int], ...]

    @classmethod
    def from_histories(cls, history_ST: Tensor, offsets: Tensor, max_len: int) -> "PackedLayout":
        """Compute the layout of histories from CPU tensors like those of a Batch."""
        bounds, (code_T, *more_codes) = offsets.numpy(), history_ST.numpy()
        for other_T in more_codes:
            # One code for each combination of codes.
            code_T = code_T * (other_T.max(initial=0) + 1) + other_T
            if code_T.max(initial=0) >= CODE_LIMIT:
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
    """Fill the arrays, except the targets' slots; return the number of distinct events.

    `latest` has, for each code, the slot of its latest distinct event.
    """
    distinct, position = 0, 0
    for b in range(len(bounds) - 1):
        # Slots of earlier rows' events are smaller.
        first_slot = distinct
        for t in range(max(bounds[b], bounds[b + 1] - max_len), bounds[b + 1]):
            if latest[codes[t]] < first_slot:
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
    """A model's inputs for B rows, which have T events together.

    numbers        for each numeric encoding, the encoded columns, float32 [B, columns]
    profile_BP     int64 [B, columns], indices of the profile categories
    target_BG      int64 [B, columns], indices of the targets
    context_BC     int64 [B, columns], indices of the context categories
    history_ST     int64 [sequences, T], indices of the events, the oldest of a row first
    offsets        row b has the events offsets[b] to offsets[b + 1] (exclusive)
    elapsed_T      int64, time from each event to its row, 0 if it is later; None without times
    row_B          int64, each row's index in its table
    label_B        float32; None without labels
    layout         where each row's newest events and its target are
    global_rows    with several GPUs, the number of rows on all of them together; else None

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
    global_rows: int | None = None

    def __len__(self) -> int:
        return len(self.row_B)

    @property
    def rows_of_step(self) -> int:
        """The number of rows over which a training step averages its loss, on all GPUs together."""
        return len(self) if self.global_rows is None else self.global_rows

    def slice(self, start: int, stop: int) -> "Batch":
        """A batch of the rows `start` to `stop` (exclusive)."""
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
            layout=PackedLayout.from_histories(history_ST, offsets, self.layout.max_len),
        )

    def to(self, device: torch.device) -> "Batch":
        """A copy on `device`; if this batch is in pinned memory, the CPU does not wait."""
        return _map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """A copy in pinned memory, from which a GPU copies while the CPU goes on."""
        return _map_tensors(self, Tensor.pin_memory)


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of a batch, or of a field of one, with `change` applied to all tensors."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _map_tensors(each, change) for name, each in value.items()}
    if isinstance(value, Batch | PackedLayout):
        return replace(value, **_map_tensors(vars(value), change))
    return value
