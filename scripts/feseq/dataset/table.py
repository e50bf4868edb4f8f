"""A click table as its readers see it: rows in an order, in whatever files they lie."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from .block import Block


@dataclass(frozen=True)
class Header:
    """What holds for all rows of a table.

    `path` is what messages call it. `source` says what it was made from, whether `simulated`.
    `identity` is equal for the train and the validation rows of one draw.
    """

    path: Path
    numeric_columns: Sequence[str]
    categorical_columns: Sequence[str]
    sequence_columns: Sequence[str]
    source: Mapping[str, Any]
    has_times: bool = False
    identity: str = ""


class Table(Protocol):
    """Rows that are read from `start` to `stop` (not included)."""

    header: Header
    rows: int
    # Rows of a block when all are read.
    block_rows: int = 8_192

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        """Rows start to stop as one block, with all sequences or those named."""
        ...

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of one of a block's arrays, such as `label`, `row`, `categorical`."""
        ...

    def lengths(self, sequence: str) -> np.ndarray:
        """Events of every row in a sequence column."""
        ...

    def vocabulary(self, column: str) -> list[str]:
        """The raw strings of a categorical column, sorted; a missing value is none of them."""
        ...

    def close(self) -> None:
        """Close its files."""
        return None

    def blocks(self, sequences: Sequence[str] | None = None) -> Iterator[Block]:
        """All rows in order, block by block, with all sequences or those named."""
        for start in range(0, self.rows, self.block_rows):
            yield self.read(start, min(start + self.block_rows, self.rows), sequences)

    @property
    def path(self) -> Path:
        """What messages call it."""
        return self.header.path

    @property
    def source(self) -> Mapping[str, Any]:
        """What it was made from."""
        return self.header.source

    @property
    def identity(self) -> str:
        """Equal for the train and the validation rows of one draw."""
        return self.header.identity

    @property
    def numeric_columns(self) -> Sequence[str]:
        """The columns of a block's `numeric`."""
        return self.header.numeric_columns

    @property
    def categorical_columns(self) -> Sequence[str]:
        """The columns of a block's `categorical`."""
        return self.header.categorical_columns

    @property
    def sequence_columns(self) -> Sequence[str]:
        """The names of a block's sequences."""
        return self.header.sequence_columns

    @property
    def holdout(self) -> np.ndarray:
        """True for holdout rows, bool [rows]; train and validation tables have such a flag."""
        return self.column("holdout").astype(bool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class MemoryTable(Table):
    """The rows of a block."""

    def __init__(
        self, header: Header, block: Block, words: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self.header, self.block, self.rows = header, block, len(block)
        self._words = words or {}

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        """Rows start to stop as one block, with all sequences or those named."""
        return self.block.part(start, stop).with_sequences(sequences)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of one of the block's arrays."""
        return getattr(self.block, name)[start:stop]

    def lengths(self, sequence: str) -> np.ndarray:
        """Events of every row in a sequence column."""
        return self.block.sequences[sequence].lengths

    def vocabulary(self, column: str) -> list[str]:
        """The raw strings that it was made with."""
        return sorted(self._words.get(column, ()))


class SomeRows(Table):
    """The rows of a table at some `places` [rows], ascending, in its order."""

    def __init__(self, whole: Table, places: np.ndarray) -> None:
        self.whole, self.places = whole, places
        self.header, self.rows = whole.header, len(places)

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        """Rows start to stop as one block, with all sequences or those named."""
        places = self.places[start:stop]
        # Where few rows of many are wanted, those between are not read at once.
        cuts = np.flatnonzero(np.diff(places // self.block_rows)) + 1
        parts = []
        for part in np.split(places, cuts):
            first, last = (int(part[0]), int(part[-1]) + 1) if len(part) else (0, 0)
            parts.append(self.whole.read(first, last, sequences).take(part - first))
        return Block.joined(parts)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of one of a block's arrays."""
        return self.whole.column(name)[self.places[start:stop]]

    def lengths(self, sequence: str) -> np.ndarray:
        """Events of every row in a sequence column."""
        return self.whole.lengths(sequence)[self.places]

    def vocabulary(self, column: str) -> list[str]:
        """That of the whole table."""
        return self.whole.vocabulary(column)

    def close(self) -> None:
        """Close the whole table."""
        self.whole.close()


def without_holdout(table: Table) -> Table:
    """The rows that may choose epochs, settings and weights: all but the holdout rows."""
    holdout = table.holdout
    return SomeRows(table, np.flatnonzero(~holdout)) if holdout.any() else table


def reported(holdout: np.ndarray) -> np.ndarray:
    """The rows that metrics are reported on: the holdout rows, or all rows where there are none."""
    return holdout if holdout.any() else ~holdout
