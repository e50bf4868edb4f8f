"""A file of a raw table, of any format: what is known of it before its rows are read."""

from dataclasses import dataclass

import pyarrow as pa

from ..common.parquet import SIMULATED_MARK
from ..config.columns import Columns
from .location import Location


@dataclass(frozen=True)
class Reading:
    """How files without types of their own are read; `rows` is how many a file has, if known."""

    columns: Columns | None = None
    delimiter: str | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Contents:
    """What a file says of itself: size, schema, and the rows of the groups that it is read by.

    `largest_group` is in bytes. A file that `is_one_part` is read from its first row on. `repeated`
    are names of several columns; they are in no schema, since such columns may not be in use.
    """

    bytes: int
    schema: pa.Schema
    group_rows: list[int]
    largest_group: int = 0
    is_one_part: bool = False
    repeated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class File:
    """A file, and which of its rows, `start` to `stop`, are read; `keys`: its folders' columns."""

    location: Location
    version: str
    contents: Contents
    keys: dict[str, str | None]
    start: int
    stop: int
    delimiter: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns of the file itself."""
        return self.contents.schema

    @property
    def is_simulated(self) -> bool:
        """True if the simulation wrote it."""
        return SIMULATED_MARK.items() <= (self.schema.metadata or {}).items()

    @property
    def columns(self) -> set[str]:
        """The columns of the file and its folders."""
        return {*self.schema.names, *self.keys}

    def clip(self, batch: pa.RecordBatch, row: int) -> pa.RecordBatch:
        """The rows of a batch that are read; `row` is the number of its first row in the file."""
        begin, end = (min(max(r - row, 0), len(batch)) for r in (self.start, self.stop))
        return batch.slice(begin, end - begin)
