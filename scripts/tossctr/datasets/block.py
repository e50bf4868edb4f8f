"""A block: some rows of a click table, in memory as they are in H5."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..common.arrays import Ragged


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
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that it has, without the sequences, by name."""
        return {name: each for name, each in vars(self).items() if isinstance(each, np.ndarray)}

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        sequences = self.sequences.values()
        values = [*self.arrays.values(), *(a for s in sequences for a in (s.values, s.offsets))]
        return sum(array.nbytes for array in values)

    def take(self, rows: np.ndarray) -> "Block":
        """The rows of these numbers in this order."""
        sequences = {name: each.take(rows) for name, each in self.sequences.items()}
        arrays = {name: each[rows] for name, each in self.arrays.items()}
        return Block(sequences=sequences, **arrays)

    def slice(self, start: int, stop: int) -> "Block":
        """The rows start to stop (not included), whose values are not copied."""
        sequences = {name: each.slice(start, stop) for name, each in self.sequences.items()}
        arrays = {name: each[start:stop] for name, each in self.arrays.items()}
        return Block(sequences=sequences, **arrays)

    def without_events(self) -> "Block":
        """The same rows with empty histories."""
        return replace(self, sequences={n: s.emptied() for n, s in self.sequences.items()})

    @classmethod
    def joined(cls, blocks: Sequence["Block"]) -> "Block":
        """The rows of all blocks, which are of one table, one block after the other."""
        sequences = {
            name: Ragged.joined([block.sequences[name] for block in blocks])
            for name in blocks[0].sequences
        }
        arrays = {
            name: np.concatenate([block.arrays[name] for block in blocks])
            for name in blocks[0].arrays
        }
        return cls(sequences=sequences, **arrays)
