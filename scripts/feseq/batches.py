"""From an H5 table to batches that a model takes: blocks, windows, length-sorted batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .feature_map import FeatureEncoder, FeatureMap
from .store import Block, H5Table

# Rows are shuffled, and sorted by length, within windows of about this many.
WINDOW_ROWS = 65_536


@dataclass(frozen=True)
class Batch:
    """Inputs of B rows.

    numeric_BN float32; profile_BP, target_BG int64 indices; histories packed, history_ST int64
    [sequence fields, events of all rows], row b being offsets[b]:offsets[b+1], newest last.
    `row_B` int64: place of each row in its file. `label_B` float32, None where there is none.

        histories [[7, 8], [], [9]]:   history_ST [[7, 8, 9]], offsets [0, 2, 2, 3]
    """

    numeric_BN: Tensor
    profile_BP: Tensor
    target_BG: Tensor
    history_ST: Tensor
    offsets: Tensor
    row_B: Tensor
    label_B: Tensor | None

    def __len__(self) -> int:
        return len(self.row_B)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        if device.type == "cpu":
            return self
        moved: dict[str, Any] = {
            name: None if value is None else value.to(device, non_blocking=True)
            for name, value in vars(self).items()
        }
        return Batch(**moved)


class BatchSource:
    """Batches of one H5 table, encoded by a feature map, histories cut to the newest `max_len`."""

    def __init__(self, h5: Path, feature_map: FeatureMap, *, max_len: int, batch_rows: int) -> None:
        self.table = H5Table(h5)
        self.encoder = FeatureEncoder(feature_map, self.table)
        self.sequence_columns = [field.column for field in feature_map.sequences]
        self.max_len = max_len
        self.batch_rows = batch_rows
        self.window_rows = batch_rows * max(1, WINDOW_ROWS // batch_rows)

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return self.table.rows

    @property
    def batches_per_epoch(self) -> int:
        """Batches in which `shuffled` hands out all rows; every window but the last is full."""
        return -(-self.rows // self.batch_rows)

    def shuffled(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Each row once, in an order that depends on `seed` and `epoch` alone.

        Windows come in random order. Within one, rows are shuffled, then grouped by length, so
        that a batch has little padding, and the groups come in random order: how early a row
        comes does not depend on its length. Rows left over by the last window make a random
        smaller batch, not one of the longest histories.
        """
        random = np.random.default_rng([seed, epoch])
        starts = np.arange(0, self.rows, self.window_rows)
        for start in random.permutation(starts):
            window = self.table.read(int(start), min(int(start) + self.window_rows, self.rows))
            order = random.permutation(len(window))
            left_over = len(window) % self.batch_rows
            rest, full = order[:left_over], order[left_over:]
            lengths = self._cut_lengths(window)
            full = full[np.argsort(lengths[full], kind="stable")]
            groups = list(full.reshape(-1, self.batch_rows)) + ([rest] if left_over else [])
            for i in random.permutation(len(groups)):
                yield self._batch(window, groups[i], int(start))

    def in_order(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Rows start to stop, window by window, within a window the longest histories first."""
        stop = self.rows if stop is None else stop
        for first in range(start, stop, self.window_rows):
            window = self.table.read(first, min(first + self.window_rows, stop))
            order = np.argsort(-self._cut_lengths(window), kind="stable")
            for i in range(0, len(order), self.batch_rows):
                yield self._batch(window, order[i : i + self.batch_rows], first)

    def _cut_lengths(self, window: Block) -> np.ndarray:
        return np.minimum(window.sequences[self.sequence_columns[0]].lengths, self.max_len)

    def _batch(self, window: Block, rows: np.ndarray, first_row: int) -> Batch:
        encoded = self.encoder.encode(window, rows)
        histories = [
            window.sequences[name].take(rows, self.max_len) for name in self.sequence_columns
        ]
        codes = [
            lookup(history.values) for lookup, history in zip(self.encoder.sequences, histories)
        ]
        label = None if window.label is None else window.label[rows].astype(np.float32)
        return Batch(
            numeric_BN=torch.from_numpy(encoded.numeric),
            profile_BP=torch.from_numpy(encoded.profile),
            target_BG=torch.from_numpy(encoded.target),
            history_ST=torch.from_numpy(np.stack(codes)),
            offsets=torch.from_numpy(histories[0].offsets),
            row_B=torch.from_numpy(rows + first_row),
            label_B=None if label is None else torch.from_numpy(label),
        )
