"""A batch: what a model reads of some rows. Each field is declared once, with its shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from .layout import Layout

# Fields with an entry for each row (first axis) or for each event of all rows (last axis).
ROW, EVENT = {"per": "row"}, {"per": "event"}


@dataclass(frozen=True)
class Batch:
    """Inputs of B rows with T events.

    `numbers` float32 [B, columns] by numeric encoding (`numeric_encodings.py`).
    profile_BP, target_BG, context_BC int64 indices. history_ST int64 [sequence fields, events of
    all rows]: row b is offsets[b]:offsets[b+1], newest last. `elapsed_T` int64: the row's time
    minus the event's, 0 if the event is later; None in a table without times. `row_B` int64: place
    of each row in its table. `label_B` float32, None without labels. `layout` has the positions,
    which may be those of the newest events alone. `shared_rows`: rows of the whole batch if this is
    one rank's share of it, else None.

        histories [[7, 8], [], [9]]:   history_ST [[7, 8, 9]], offsets [0, 2, 2, 3]
    """

    numbers: Mapping[str, Tensor] = field(metadata=ROW)
    profile_BP: Tensor = field(metadata=ROW)
    target_BG: Tensor = field(metadata=ROW)
    context_BC: Tensor = field(metadata=ROW)
    row_B: Tensor = field(metadata=ROW)
    label_B: Tensor | None = field(metadata=ROW)
    history_ST: Tensor = field(metadata=EVENT)
    elapsed_T: Tensor | None = field(metadata=EVENT)
    offsets: Tensor
    layout: Layout
    shared_rows: int | None = None

    def __len__(self) -> int:
        return len(self.row_B)

    @property
    def step_rows(self) -> int:
        """Rows that a step's loss averages over: those of all shares."""
        return len(self) if self.shared_rows is None else self.shared_rows

    def rows(self, start: int, stop: int) -> "Batch":
        """The rows start to stop as a batch of their own."""
        if (start, stop) == (0, len(self)):
            return self
        offsets = self.offsets[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        cut: dict[str, Callable[[Tensor], Tensor]] = {
            "row": lambda tensor: tensor[start:stop],
            "event": lambda tensor: tensor[..., first:last],
        }
        values = {
            each.name: _changed(getattr(self, each.name), cut[each.metadata["per"]])
            for each in fields(self)
            if each.metadata
        }
        offsets = offsets - first
        layout = Layout.of(values["history_ST"], offsets, self.layout.max_len)
        return replace(self, **values, offsets=offsets, layout=layout)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`; the host does not wait for the copy of a pinned one."""
        return self._each_tensor(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same batch in pinned memory, which a GPU copies asynchronously."""
        return self._each_tensor(Tensor.pin_memory)

    def _each_tensor(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self, **{name: _changed(value, change) for name, value in vars(self).items()}
        )


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A field's value with all its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: change(tensor) for name, tensor in value.items()}
    if isinstance(value, Layout):
        return replace(
            value, **{name: _changed(tensor, change) for name, tensor in vars(value).items()}
        )
    return value
