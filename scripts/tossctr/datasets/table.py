"""A click table as its readers see it: ordered rows, independent of files, read in blocks."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..common.arrays import Ragged
from ..common.errors import UserError
from ..config.names import MONITORED_CLICKS, MONITORED_ROWS


@dataclass(frozen=True)
class Block:
    """Some rows of a click table, encoded as in H5; events as narrow as these rows allow.

    `numeric` float32 [rows, N]; `categorical` uint64 [rows, K], codes of `categories.py`;
    `sequences` by column name; `row` int64 [rows]. All others may be None: `label` uint8 [rows];
    `period` and `fold` uint8 [rows], as in a Selection; `id` bytes [rows]; `time` int64 [rows];
    `index` int64 [rows], the rows' indices in their table; `first_events` [rows], with a uint64
    field for each sequence: its first token before permutation importance changed it.
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
    index: np.ndarray | None = None
    first_events: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.row)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are not None, without the sequences, by name."""
        return {name: each for name, each in vars(self).items() if isinstance(each, np.ndarray)}

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        sequences = self.sequences.values()
        values = [*self.arrays.values(), *(a for s in sequences for a in (s.values, s.offsets))]
        return sum(array.nbytes for array in values)

    def take(self, rows: np.ndarray) -> "Block":
        """The rows at these indices, in this order."""
        sequences = {name: each.take(rows) for name, each in self.sequences.items()}
        arrays = {name: each[rows] for name, each in self.arrays.items()}
        return Block(sequences=sequences, **arrays)

    def slice(self, start: int, stop: int) -> "Block":
        """Rows start to stop (not included), without copying values."""
        sequences = {name: each.slice(start, stop) for name, each in self.sequences.items()}
        arrays = {name: each[start:stop] for name, each in self.arrays.items()}
        return Block(sequences=sequences, **arrays)

    def newest(self, events: int) -> "Block":
        """The same rows, each history cut to its newest `events` events."""
        rows = np.arange(len(self))
        return replace(self, sequences={n: s.take(rows, events) for n, s in self.sequences.items()})

    @classmethod
    def concatenate(cls, blocks: Sequence["Block"]) -> "Block":
        """The rows of blocks of one table, one block after the other."""
        sequences = {
            name: Ragged.concatenate([block.sequences[name] for block in blocks])
            for name in blocks[0].sequences
        }
        arrays = {
            name: np.concatenate([block.arrays[name] for block in blocks])
            for name in blocks[0].arrays
        }
        return cls(sequences=sequences, **arrays)


@dataclass(eq=False)
class Header:
    """Properties of a whole table.

    Messages call the table `path`. The columns are those of a block's arrays and sequences.
    `source` describes the raw table and whether it is `simulated`. `identity` is equal for the
    train and the validation rows of one draw; `split` is the split of a file's rows.
    """

    path: Path
    numeric_columns: Sequence[str]
    categorical_columns: Sequence[str]
    sequence_columns: Sequence[str]
    source: Mapping[str, Any]
    has_times: bool = False
    identity: str = ""
    split: str = ""

    def as_dict(self) -> dict[str, Any]:
        """All properties by name."""
        return {field.name: getattr(self, field.name) for field in fields(Header)}


class Table(Header, ABC):
    """Rows that are read from `start` to `stop` (not included)."""

    rows: int
    # Rows of each block that `blocks` yields.
    block_rows: int = 8_192

    @abstractmethod
    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        """Rows start to stop as one block, with all sequences or those named."""

    @abstractmethod
    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of one of a block's arrays, such as `label`, `row`, `categorical`."""

    @abstractmethod
    def vocabulary(self, column: str) -> list[str]:
        """The raw strings of a categorical column, sorted, without one for missing values.

        For a sequence, the strings of its tokens that are not integers.
        """

    def close(self) -> None:
        """Close its files, if any; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def blocks(
        self, sequences: Sequence[str] | None = None, rows: int | None = None
    ) -> Iterator[Block]:
        """All rows, or the first `rows`, block by block, with all sequences or those named."""
        stop = self.rows if rows is None else min(rows, self.rows)
        for start in range(0, stop, self.block_rows):
            yield self.read(start, min(start + self.block_rows, stop), sequences)


class MemoryTable(Table):
    """The rows of a block."""

    def __init__(
        self, header: Header, block: Block, words: Mapping[str, Collection[str]] | None = None
    ) -> None:
        super().__init__(**header.as_dict())
        self.block, self.rows = block, len(block)
        self._words = words or {}

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        """Rows start to stop as one block, with all sequences or those named."""
        rows = self.block.slice(start, stop)
        names = rows.sequences if sequences is None else sequences
        return replace(rows, sequences={name: rows.sequences[name] for name in names})

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of one of the block's arrays."""
        return getattr(self.block, name)[start:stop]

    def vocabulary(self, column: str) -> list[str]:
        """The raw strings passed when it was created."""
        return sorted(self._words.get(column, ()))


class SomeRows(Table):
    """The rows of a table at `indices` [rows], which must ascend."""

    def __init__(self, whole: Table, indices: np.ndarray) -> None:
        super().__init__(**whole.as_dict())
        self.whole, self.indices, self.rows = whole, indices, len(indices)

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        """Rows start to stop as one block, with all sequences or those named."""
        indices = self.indices[start:stop]
        # If only a few distant rows are wanted, the rows between them are not read.
        cuts = np.flatnonzero(np.diff(indices // self.block_rows)) + 1
        blocks = []
        for near in np.split(indices, cuts):
            first, last = (int(near[0]), int(near[-1]) + 1) if len(near) else (0, 0)
            blocks.append(self.whole.read(first, last, sequences).take(near - first))
        return Block.concatenate(blocks)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows `start:stop` of one of a block's arrays."""
        return self.whole.column(name)[self.indices[start:stop]]

    def vocabulary(self, column: str) -> list[str]:
        """The vocabulary of the whole table."""
        return self.whole.vocabulary(column)

    def close(self) -> None:
        """Close the table that has these rows."""
        self.whole.close()


def monitored_rows(table: Table) -> Table:
    """The first validation rows, as many as are needed to monitor training.

    Rows of an H5 table are shuffled, so the first rows are a fair sample.
    """
    clicks = np.cumsum(table.column("label"), dtype=np.int64)
    most = max(MONITORED_ROWS, int(np.searchsorted(clicks, MONITORED_CLICKS)) + 1)
    return SomeRows(table, np.arange(most)) if most < table.rows else table


def period_count(table: Table) -> int:
    """The number of periods of a drawn table's rows; 1 without times."""
    return int(table.column("period").max()) + 1


def require_drawn(table: Table) -> None:
    """Raise UserError for a test table, whose rows were not drawn."""
    if "draw" not in table.source:
        raise UserError(
            f"{table.path}: holds test rows; give the H5 files of train or validation rows"
        )


def draw_mismatch(one: object, other: object) -> UserError:
    """The error for two files of different draws: one may have trained on the other's rows."""
    return UserError(
        f"{one} and {other} were not made from the same rows and columns; take files of one draw. "
        f"If the workflow made both, delete their folders in data/h5 and run the same command "
        f"again to rebuild them"
    )
