"""Reading raw tables: one or more parquet files, checked and streamed as one table."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.ahead import map_ahead
from ..common.errors import UserError
from ..config.columns import Columns
from .listing import TableLocation, hive_keys
from .location import Location
from .parquet_file import Range, RawFile, open_file, some
from .parts import FileRows, Listing, Part, cut

logger = logging.getLogger(__name__)

# Files of a table that are opened side by side; each takes two requests to a store.
_OPENED_AT_ONCE = 8
# As they are written again, so that 01 stays another category than 1.
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")


@dataclass(frozen=True)
class _File:
    """One file of a table: what its footer says, and the columns that its folders give.

    `groups` and `inside` are what is read, as RawFile has them; `group_rows` are those of all.
    """

    location: Location
    version: str
    groups: Range
    inside: Range
    group_rows: list[int]
    first_row: int
    rows: int
    bytes: int
    is_simulated: bool
    schema: pa.Schema
    keys: dict[str, str | None]


class RawTable:
    """The files of a raw table, or of a part of it, as one.

    Its rows are numbered through the files in order, from the place of its first row in its file
    on. A folder key=value above a file is a column of it, whose type is int64 where all values are
    integers, else string. One of several files is open at a time. Raises UserError if one cannot
    be opened, or is simulated and another is not.
    """

    def __init__(self, location: TableLocation, part: Part | None = None) -> None:
        self.location = location
        # The file of a table that has no other.
        self._single: RawFile | None = None
        read: list[tuple[Range, Range]] = [(None, None)] * len(location.files)
        if part:
            read = [(piece.groups, piece.inside) for piece in part.pieces]
        if len(read) != len(location.files):
            raise UserError(
                f"{location}: {len(location.files)} files are given for a part of {len(read)}; "
                f"give those that the listing of the parts names"
            )
        pairs = zip(location.files, read)
        self._files = list(map_ahead(lambda pair: self._look_at(*pair), pairs, _OPENED_AT_ONCE))
        for file, piece in zip(self._files, part.pieces if part else ()):
            if file.version != piece.version:
                file.location.check_unchanged(piece.version)
        self.version = part.version if part else location.version
        rows = [file.rows for file in self._files]
        self.first_row = self._files[0].first_row
        self._first_rows = self.first_row + np.cumsum([0, *rows])[:-1]
        self.rows, self.bytes = sum(rows), sum(file.bytes for file in self._files)
        first = self._files[0]
        self.is_simulated = first.is_simulated
        for file in self._files:
            if file.is_simulated != self.is_simulated:
                raise UserError(
                    f"{location}: of {first.location} and {file.location} one was written by the "
                    f"simulation; real and simulated data are never mixed"
                )
            for name in first.keys.keys() & set(file.schema.names):
                raise UserError(
                    f"{file.location}: column {name!r} is in the file, and not in that of "
                    f"{first.location}, whose folder names it; rename the folder or the column"
                )
        self._key_types = {name: self._key_type(name, part) for name in first.keys}
        keys = [pa.field(*key) for key in self._key_types.items()]
        self.schema_arrow = pa.schema([*map(self._settled, first.schema), *keys])

    def where(self, row: int) -> str:
        """How messages call the file of a row, which they number within the table."""
        number = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        location, first_row = self._files[number].location, self._first_rows[number]
        return str(location) if self._single else f"{location} (from row {first_row:,} on)"

    def stream(self, names: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (number of its first row, batch) over all files, only these columns read.

        Raises UserError if a file lacks one, has it in another type than the others or cannot be
        decoded, or if one was replaced before its last batch.
        """
        self._check_alike(names)
        fields = [self.schema_arrow.field(name) for name in dict.fromkeys(names)]
        for file, first_row in zip(self._files, self._first_rows.tolist()):
            inside = [field.name for field in fields if field.name not in file.keys]
            opened = self._single or _open_again(file)
            for row, batch in opened.stream(inside, batch_rows):
                yield first_row + row, self._completed(batch, fields, file.keys)
            if not self._single:
                file.location.close()

    def check_columns(self, columns: Columns, extra: str, cure: str = "") -> None:
        """Check that all columns in use and `extra` (label or ID) occur once, in a usable type.

        `cure` says what to do where one is missing, if that is not to correct the config.
        """
        wanted, present = (*columns.features, extra), self.schema_arrow.names
        missing = [name for name in wanted if name not in present]
        if missing:
            groups = sorted(
                {columns.group_of[name] for name in missing if name in columns.group_of}
            )
            own = (
                f"drop group {' and '.join(map(repr, groups))} from columns.use"
                if groups
                else "name the right column in columns.label or columns.id"
            )
            raise UserError(
                f"{self.location}: {len(missing)} of {len(wanted)} columns are missing: "
                f"{some(missing)}; the file has {len(present)}: {some(present)}; "
                + (cure or f"correct the columns block of the config, or {own}")
            )
        self._check_alike(wanted)
        self._check_types(columns)
        unused = [name for name in present if name not in wanted]
        if unused:
            logger.info("%s: %d columns not in use: %s", self.location, len(unused), some(unused))

    def _check_types(self, columns: Columns) -> None:
        row_time = [columns.row_time] if columns.row_time else []
        for names, is_usable, role in (
            (columns.categorical, _is_categorical, "categorical (string, integer, float, boolean)"),
            (columns.numeric, _is_number, "numeric (integer, float, decimal or boolean)"),
            (columns.ragged, _is_sequence, "a sequence (comma-joined integers, or a list of such)"),
            (row_time, _is_time, "a time (integer, timestamp)"),
        ):
            for name in names:
                kind = self.schema_arrow.field(name).type
                if not is_usable(kind):
                    raise UserError(
                        f"{self.location}: column {name!r} has type {kind}, cannot be {role}"
                    )

    def check_kinds(self, other: "RawTable", columns: Columns) -> None:
        """Raise UserError if a category or a row's time is of another kind in the other file.

        Values are compared as they are written: 7 is neither 07 nor true.
        """
        row_time = [columns.row_time] if columns.row_time else []
        for name in (*columns.categorical, *row_time):
            types = [file.schema_arrow.field(name).type for file in (other, self)]
            kinds = [kind for kind in map(_kind, types) if kind]
            if len(set(kinds)) > 1:
                raise UserError(
                    f"column {name!r} has type {types[0]} in {other.location} and {types[1]} in "
                    f"{self.location}; values are compared as they are written: take one type"
                )

    def listing(self, rows: int) -> Listing:
        """The table in parts of about `rows` rows."""
        files = [FileRows(str(f.location), f.version, f.keys, f.group_rows) for f in self._files]
        key_types = {name: str(kind) for name, kind in self._key_types.items()}
        listing = Listing(self.location.name, self.rows, cut(files, rows, key_types))
        logger.info("%s: %s rows in %d parts", self.location, f"{self.rows:,}", len(listing.parts))
        cut_groups = sum(bool(piece.inside) for part in listing.parts for piece in part.pieces)
        if cut_groups:
            largest = max(max(file.group_rows, default=0) for file in self._files)
            logger.warning(
                "%s: row groups have up to %s rows; each of the %d parts that they are cut into "
                "decodes all rows of its group before its own; row groups of some 100,000 rows are "
                "converted faster",
                self.location,
                f"{largest:,}",
                cut_groups,
            )
        return listing

    def _look_at(self, location: Location, read: tuple[Range, Range]) -> _File:
        file = open_file(location, *read)
        schema = file.schema_arrow
        # Some writers leave the columns of the folders in the files; those have the right type.
        keys = {n: key for n, key in hive_keys(location).items() if n not in schema.names}
        if len(self.location.files) == 1:
            self._single = file
        else:
            location.close()
        return _File(
            location,
            file.version,
            *read,
            file.group_rows,
            file.first_row,
            file.rows,
            file.bytes,
            file.is_simulated,
            schema,
            keys,
        )

    def _key_type(self, name: str, part: Part | None) -> pa.DataType:
        if part:
            return pa.int64() if part.key_types.get(name) == "int64" else pa.string()
        values = (file.keys.get(name) for file in self._files)
        is_number = all(value is None or _INTEGER.fullmatch(value) for value in values)
        return pa.int64() if is_number else pa.string()

    def _settled(self, field: pa.Field) -> pa.Field:
        """The field with the type of the first file that has values of it."""
        if not pa.types.is_null(field.type):
            return field
        types = (self._type_in(file, field.name) for file in self._files)
        return field.with_type(next((t for t in types if t and not pa.types.is_null(t)), pa.null()))

    def _type_in(self, file: _File, name: str) -> pa.DataType | None:
        """A column's type in one file, None if that has no such column."""
        if name in file.keys:
            return self._key_types.get(name, pa.string())
        places = file.schema.get_all_field_indices(name)
        if len(places) > 1:
            raise UserError(f"{file.location}: columns that occur more than once: {name!r}")
        return file.schema.field(places[0]).type if places else None

    def _check_alike(self, names: Sequence[str]) -> None:
        """Raise UserError if a file lacks a column, has it twice, or in another type than others.

        A column without a value, which has no type, is like all others.
        """
        for name in names:
            known: tuple[_File, pa.DataType] | None = None
            for file in self._files:
                kind = self._type_in(file, name)
                if kind is None:
                    there = f", and {known[0].location} has it, of type {known[1]}" if known else ""
                    raise UserError(
                        f"{file.location}: there is no column {name!r}{there}; the file has "
                        f"{some(file.schema.names)}"
                    )
                if known and kind != known[1] and not pa.types.is_null(kind):
                    raise UserError(
                        f"column {name!r} has type {known[1]} in {known[0].location} and {kind} in "
                        f"{file.location}; all files of a table have the same types: write them so"
                    )
                if known is None and not pa.types.is_null(kind):
                    known = file, kind

    def _completed(
        self, batch: pa.RecordBatch, fields: Sequence[pa.Field], keys: Mapping[str, str | None]
    ) -> pa.RecordBatch:
        """A batch of one file with all columns, in the table's types."""
        if not keys and not any(pa.types.is_null(kind) for kind in batch.schema.types):
            return batch
        columns = []
        for name, kind in ((field.name, field.type) for field in fields):
            if name in keys:
                column = pa.repeat(pa.scalar(keys[name], pa.string()).cast(kind), len(batch))
            else:
                column = batch.column(name)
                if pa.types.is_null(column.type):
                    column = pa.nulls(len(batch), kind)
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def open_parquet(
    written: str | Path | Sequence[str] | TableLocation, part: Part | None = None
) -> RawTable:
    """Open a raw table or a single file; raises UserError if that cannot be done.

    With a part, `written` names the files of its pieces, which must be those that were listed.
    """
    location = written if isinstance(written, TableLocation) else TableLocation(written)
    return RawTable(location, part)


def _open_again(file: _File) -> RawFile:
    opened = open_file(file.location, file.groups, file.inside)
    if (opened.rows, opened.schema_arrow) != (file.rows, file.schema):
        file.location.check_unchanged(file.version)
    return opened


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        # pandas' way to write a column without a single value.
        or pa.types.is_null(kind)
    )


def _is_sequence(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return _is_text(kind)
    return _is_text(kind.value_type) or pa.types.is_integer(kind.value_type)


def _kind(kind: pa.DataType) -> str:
    """Types whose values read alike; '' for a column without values."""
    kind = _value_type(kind)
    if pa.types.is_null(kind):
        return ""
    if pa.types.is_boolean(kind) or pa.types.is_timestamp(kind):
        return str(kind).partition("[")[0]
    return "text" if _is_text(kind) else "number"


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_timestamp(kind)


def _is_categorical(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return _is_text(kind) or _is_number(kind)
