"""A block: some rows of a click table, in memory as they are in H5."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..common.ragged import Ragged, merged

# Arrays that not every table has.
OPTIONAL = ("label", "holdout", "id", "time")


@dataclass(frozen=True)
class Block:
    """Some rows of a click table, encoded as in H5; events as narrow as these rows allow.

    `numeric` float32 [rows, N]; `categorical` uint64 [rows, K], codes of `categories.py`;
    `sequences` by column name; `row` int64 [rows]; `label` uint8 [rows], `holdout` uint8 [rows],
    1 for holdout rows, `id` bytes [rows], `time` int64 [rows], each of these or None.
    """

    numeric: np.ndarray
    categorical: np.ndarray
    sequences: Mapping[str, Ragged]
    row: np.ndarray
    label: np.ndarray | None = None
    holdout: np.ndarray | None = None
    id: np.ndarray | None = None
    time: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        arrays += [part for r in self.sequences.values() for part in (r.values, r.offsets)]
        return sum(array.nbytes for array in arrays)

    def take(self, rows: np.ndarray) -> "Block":
        """The rows of these numbers in this order."""
        return self._each(lambda values: values[rows], lambda ragged: ragged.take(rows))

    def part(self, start: int, stop: int) -> "Block":
        """The rows start to stop (not included), whose values are not copied."""
        return self._each(
            lambda values: values[start:stop], lambda ragged: ragged.part(start, stop)
        )

    def with_sequences(self, names: Sequence[str] | None) -> "Block":
        """The same rows with these sequences alone; None: all."""
        if names is None:
            return self
        return replace(self, sequences={name: self.sequences[name] for name in names})

    def _each(
        self,
        change: Callable[[np.ndarray], np.ndarray],
        ragged_change: Callable[[Ragged], Ragged],
    ) -> "Block":
        arrays: dict[str, Any] = {
            name: change(values)
            for name, values in vars(self).items()
            if isinstance(values, np.ndarray)
        }
        sequences = {name: ragged_change(ragged) for name, ragged in self.sequences.items()}
        return replace(self, sequences=sequences, **arrays)

    @classmethod
    def joined(cls, parts: Sequence["Block"]) -> "Block":
        """The rows of all parts, blocks of one table, one part after the other."""
        return cls._of_all(parts, np.concatenate, Ragged.joined)

    @classmethod
    def merged(cls, parts: Sequence["Block"], place: np.ndarray) -> "Block":
        """The rows of all parts, where row i of them all together comes to the place place[i]."""
        return cls._of_all(
            parts, lambda values: merged(values, place), lambda rows: Ragged.merged(rows, place)
        )

    @classmethod
    def _of_all(
        cls,
        parts: Sequence["Block"],
        together: Callable[[list[np.ndarray]], np.ndarray],
        ragged_together: Callable[[list[Ragged]], Ragged],
    ) -> "Block":
        def all_of(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else together(values)

        names = ("numeric", "categorical", "row", *OPTIONAL)
        sequences = {
            name: ragged_together([part.sequences[name] for part in parts])
            for name in parts[0].sequences
        }
        return cls(sequences=sequences, **{name: all_of(name) for name in names})
