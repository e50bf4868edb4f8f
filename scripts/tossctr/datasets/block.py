"""A block: some rows of a click table, in memory as they are in H5."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..common.arrays import Ragged

# Arrays that not every file has.
OPTIONAL = ("label", "period", "fold", "id", "time")


@dataclass(frozen=True)
class Block:
    """Some rows of a click table, encoded as in H5; events as narrow as these rows allow.

    `numeric` float32 [rows, N]; `categorical` uint64 [rows, K], codes of `categories.py`;
    `sequences` by column name; `row` int64 [rows]; `label` uint8 [rows], `period` and `fold`
    uint8 [rows] as in a Selection, `id` bytes [rows], `time` int64 [rows], each of these or None.
    `place` int64 [rows] is the rows' place in their table, and `first_events` [rows] has a
    field uint64 for each sequence, its first token before it was changed, if these were noted.
    """

    numeric: np.ndarray
    categorical: np.ndarray
    sequences: Mapping[str, Ragged]
    row: np.ndarray
    label: np.ndarray | None = None
    period: np.ndarray | None = None
    fold: np.ndarray | None = None
    id: np.ndarray | None = None
    time: np.ndarray | None = None
    place: np.ndarray | None = None
    first_events: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        arrays += [each for r in self.sequences.values() for each in (r.values, r.offsets)]
        return sum(array.nbytes for array in arrays)

    def take(self, rows: np.ndarray) -> "Block":
        """The rows of these numbers in this order."""
        return self._each(
            lambda name: getattr(self, name)[rows], lambda name: self.sequences[name].take(rows)
        )

    def slice(self, start: int, stop: int) -> "Block":
        """The rows start to stop (not included), whose values are not copied."""
        return self._each(
            lambda name: getattr(self, name)[start:stop],
            lambda name: self.sequences[name].slice(start, stop),
        )

    def without_events(self) -> "Block":
        """The same rows with empty histories."""
        return replace(self, sequences={n: s.emptied() for n, s in self.sequences.items()})

    @classmethod
    def joined(cls, blocks: Sequence["Block"]) -> "Block":
        """The rows of all blocks, which are of one table, one block after the other."""
        return blocks[0]._each(
            lambda name: np.concatenate([getattr(block, name) for block in blocks]),
            lambda name: Ragged.joined([block.sequences[name] for block in blocks]),
        )

    def _each(
        self, array: Callable[[str], np.ndarray], sequence: Callable[[str], Ragged]
    ) -> "Block":
        """A block with new arrays and sequences, by the names that this block has."""
        arrays: dict[str, Any] = {
            name: array(name) for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, sequences={name: sequence(name) for name in self.sequences}, **arrays)
