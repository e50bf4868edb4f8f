"""Click tables: ordered rows that are read in blocks, from a file or from memory."""

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
    """Some rows of a click table. In all arrays but sequences, the first dimension is the rows.

        numeric         float32 [rows, numeric columns], NaN where missing
        categorical     uint64 [rows, categorical columns], codes of `categories.py`
        sequences       the tokens or times of each row's events, by column name
        row             int64, the row's number in its part of the raw table
        label           uint8, 1 for a click
        period          uint8, the row's time interval, 0 is the oldest
        fold            uint8, a number that is equal in all rows of a group
        id              bytes, the row's ID
        time            int64, the row's time
        index           int64, the row's index in its table
        first_events    uint64, the first token of each sequence, by column name; kept when
                        permutation importance shuffles the sequences

    The arrays from `label` on are None if the table lacks them, or nobody set them.
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
        """All arrays by name, except sequences and None."""
        return {name: each for name, each in vars(self).items() if isinstance(each, np.ndarray)}

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        sequences = self.sequences.values()
        values = [*self.arrays.values(), *(a for s in sequences for a in (s.values, s.offsets))]
        return sum(array.nbytes for array in values)

    def take(self, rows: np.ndarray) -> "Block":
        """Copy the rows at these indices, in this order."""
        sequences = {name: each.take(rows) for name, each in self.sequences.items()}
        arrays = {name: each[rows] for name, each in self.arrays.items()}
        return Block(sequences=sequences, **arrays)

    def slice(self, start: int, stop: int) -> "Block":
        """Rows `start` to `stop` (exclusive), without copying their values."""
        sequences = {name: each.slice(start, stop) for name, each in self.sequences.items()}
        arrays = {name: each[start:stop] for name, each in self.arrays.items()}
        return Block(sequences=sequences, **arrays)

    def newest(self, events: int) -> "Block":
        """The same rows, with each history truncated to its newest `events` events."""
        rows = np.arange(len(self))
        return replace(self, sequences={n: s.take(rows, events) for n, s in self.sequences.items()})

    @classmethod
    def concatenate(cls, blocks: Sequence["Block"]) -> "Block":
        """Concatenate the rows of several blocks of one table."""
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

    path          names the table in messages
    *_columns     the columns, in the order of the arrays in a Block
    source        describes the raw table, and says if it is `simulated`
    has_times     True if the table has the rows' times
    identity      the same in the train and validation tables of one split of the raw rows
    split         "train", "validation", or "" for other rows
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
    """Base class of tables, whose rows are read in blocks."""

    rows: int
    # Rows of each block that `blocks` yields.
    block_rows: int = 8_192

    @abstractmethod
    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        """Rows `start` to `stop` (exclusive) as a Block, with all `sequences` or only these."""

    @abstractmethod
    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The array `name` of a Block, such as `label`, for rows `start` to `stop` (exclusive)."""

    @abstractmethod
    def vocabulary(self, column: str) -> list[str]:
        """The distinct texts of a categorical column, or of a sequence's text tokens, sorted."""

    def close(self) -> None:
        """Close the table's files, if any; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def blocks(
        self, sequences: Sequence[str] | None = None, rows: int | None = None
    ) -> Iterator[Block]:
        """Yield Blocks of the first `rows` rows (None: all), with these `sequences` (None: all)."""
        stop = self.rows if rows is None else min(rows, self.rows)
        for start in range(0, stop, self.block_rows):
            yield self.read(start, min(start + self.block_rows, stop), sequences)


class MemoryTable(Table):
    """A table in memory: its rows are `block`; `words` has the distinct texts of each column."""

    def __init__(
        self, header: Header, block: Block, words: Mapping[str, Collection[str]] | None = None
    ) -> None:
        super().__init__(**header.as_dict())
        self.block, self.rows = block, len(block)
        self._words = words or {}

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        rows = self.block.slice(start, stop)
        names = rows.sequences if sequences is None else sequences
        return replace(rows, sequences={name: rows.sequences[name] for name in names})

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        return getattr(self.block, name)[start:stop]

    def vocabulary(self, column: str) -> list[str]:
        return sorted(self._words.get(column, ()))


class RowSubset(Table):
    """The rows at `indices` [rows] of the table `whole`; `indices` must ascend."""

    def __init__(self, whole: Table, indices: np.ndarray) -> None:
        super().__init__(**whole.as_dict())
        self.whole, self.indices, self.rows = whole, indices, len(indices)

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        indices = self.indices[start:stop]
        # Distant rows are read separately, without the rows between them.
        cuts = np.flatnonzero(np.diff(indices // self.block_rows)) + 1
        blocks = []
        for near in np.split(indices, cuts):
            first, last = (int(near[0]), int(near[-1]) + 1) if len(near) else (0, 0)
            blocks.append(self.whole.read(first, last, sequences).take(near - first))
        return Block.concatenate(blocks)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self.whole.column(name)[self.indices[start:stop]]

    def vocabulary(self, column: str) -> list[str]:
        """The distinct texts of a column in the whole table, sorted."""
        return self.whole.vocabulary(column)

    def close(self) -> None:
        self.whole.close()


def monitored_rows(table: Table) -> Table:
    """The first rows of `table`, a sample of validation rows to evaluate during training.

    These are at least MONITORED_ROWS rows with MONITORED_CLICKS clicks, if the table has as many.
    """
    clicks = np.cumsum(table.column("label"), dtype=np.int64)
    count = max(MONITORED_ROWS, int(np.searchsorted(clicks, MONITORED_CLICKS)) + 1)
    return RowSubset(table, np.arange(count)) if count < table.rows else table


def period_count(table: Table) -> int:
    """The number of time intervals in a table of train or validation rows; 1 without times."""
    return int(table.column("period").max()) + 1


def reject_test_rows(table: Table) -> None:
    """Raise UserError if the table has test rows, not train or validation rows."""
    if "draw" not in table.source:
        raise UserError(
            f"{table.path}: contains test rows; give a file of train or validation rows"
        )


def draw_mismatch_error(first: object, second: object) -> UserError:
    """The error for two files whose rows were not drawn together, so that train rows could leak."""
    return UserError(
        f"{first} and {second} were not made from the same rows and columns; give files that one "
        f"run made, or delete data/h5/{{size}} and run the same command again"
    )
