"""A file of a raw table, of any format: what is known of it before its rows are read."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

import pyarrow as pa

from ..common.errors import UserError
from .location import Location
from .parts import Piece
from .types import value_type


class File(ABC):
    """A file, and which of its rows are read: those of a piece, or all.

    `schema` has its own columns, without those of `repeated` names, and `keys` those of its
    folders, unless it has them itself. A file that `is_one_part` is read from its first row on, and
    says no types.
    """

    is_one_part = False
    is_empty: bool

    def __init__(self, location: Location, piece: Piece | None) -> None:
        # Taken before it is opened: if it is replaced in between, its state differs in the end.
        self.location, self.piece, self.state = location, piece, location.state()
        if piece is not None and piece.version != location.version:
            raise UserError(
                f"{location}: was replaced since the parts of its table were listed; run the same "
                f"command again"
            )
        schema = self._read_schema()
        self.repeated = {name for name, times in Counter(schema.names).items() if times > 1}
        fields = [field for field in schema if field.name not in self.repeated]
        fields = [field.with_type(value_type(field.type)) for field in fields]
        self.schema = pa.schema(fields, schema.metadata)
        # Some writers leave the columns of the folders in the files.
        self.keys = {name: key for name, key in location.keys.items() if name not in schema.names}
        self.columns = {*schema.names, *self.keys}
        self.start = piece.start if piece else 0

    @abstractmethod
    def _read_schema(self) -> pa.Schema:
        """Open the file, and keep what it says of itself."""

    @property
    @abstractmethod
    def group_rows(self) -> list[int]:
        """The rows of the groups that it is read by; of a CSV file they are counted."""

    @abstractmethod
    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows that are read, at most `rows` at once, with these columns."""

    @cached_property
    def stop(self) -> int:
        """The first row behind those that are read."""
        return self.piece.stop if self.piece else sum(self.group_rows)
