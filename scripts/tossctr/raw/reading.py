"""Reads the files of a raw table as one table: checks columns, streams rows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError, closest_name, first_line, join_names, row_name
from ..common.files import digest_of
from ..common.prefetch import prefetch_map
from ..config.columns import Columns
from .formats import CSV_ENDINGS, CsvFile, ParquetFile, RawFile
from .location import Location, TableLocation
from .parts import FileSlice, Part, PartList, cut_files
from .values import cast_rows, check_types, text_format, time_type, type_name

# Rows per read: 16 MB for a sequence of 500 events.
BATCH_ROWS = 8_192
# Files opened in parallel; each remote file takes a few requests.
_OPENED_AT_ONCE = 8
_MAX_NAMED = 8
_INTEGER = re.compile("0|-?[1-9][0-9]{0,17}")


class RawTable:
    """The files of a raw table, or of one part of it, read as one table.

    With `part`, `raw` names the files of this part. A column of CSV files gets its type by its role
    in `columns`; without a role, it is text. If files differ in the type of a column, pyarrow's
    permissive promotion chooses one. A folder named key=value above a file adds the column `key`
    (int64 if all values are integers, else string), unless the file has this column.

    first_row     the first row's 0-based number in its file; later files continue the numbering
    unusable      error messages by column, for conflicting types, or columns twice in a file
    incomplete    the columns that some files lack

    Raises UserError if a file cannot be opened, or if only some files are simulated.
    """

    def __init__(
        self,
        raw: str | Path | Sequence[str] | TableLocation,
        part: Part | None = None,
        columns: Columns | None = None,
    ) -> None:
        location = raw if isinstance(raw, TableLocation) else TableLocation(raw)
        self.location, self._part = location, part
        delimiter = part.delimiter if part else location.delimiter

        def opened(pair: tuple[Location, FileSlice | None]) -> RawFile:
            file, file_slice = pair
            with file.reading():
                if file.name.lower().endswith(CSV_ENDINGS):
                    return CsvFile(file, file_slice, columns, delimiter)
                return ParquetFile(file, file_slice)

        pieces: Sequence[FileSlice | None] = part.pieces if part else [None] * len(location.files)
        pairs = zip(location.files, pieces, strict=True)
        self._files = files = [*prefetch_map(opened, pairs, _OPENED_AT_ONCE)]
        self.first_row = files[0].start
        self.has_types = files[0].is_splittable
        self.is_simulated = files[0].is_simulated
        for file in files:
            if file.is_simulated != self.is_simulated:
                text = "simulated and real files cannot be one table; remove those of one kind"
                raise UserError(f"{file.location}: {text}")
        # From all folders, even for a part: a value 07 in any folder makes the column text.
        self._key_types = part.key_types if part else _key_types(files)
        self.schema_arrow, self.unusable = self._joined_schema()
        in_all = set.intersection(*(file.columns for file in files))
        self.incomplete = {*self.schema_arrow.names} - in_all

    def _joined_schema(self) -> tuple[pa.Schema, dict[str, str]]:
        """The schema of all usable columns, and an error message for each unusable column."""
        fields: dict[str, pa.Field] = {}
        unusable = {
            name: f"{file.location}: column {name!r} occurs twice; rename or drop one"
            for file in self._files
            for name in file.duplicate_columns
        }
        for file in self._files:
            keys = [(n, pa.type_for_alias(self._key_types[n])) for n in file.partition_keys]
            for field in (*file.schema, *pa.schema(keys)):
                pair = pa.schema([fields.get(field.name, field)]), pa.schema([field])
                try:
                    (fields[field.name],) = pa.unify_schemas(pair, promote_options="permissive")
                except pa.ArrowException as error:
                    unusable.setdefault(
                        field.name,
                        f"{file.location}: column {field.name!r} conflicts with its type in "
                        f"earlier files: {first_line(error)}; write all files with one type",
                    )
        usable = [field for name, field in fields.items() if name not in unusable]
        return pa.schema(usable), unusable

    @property
    def version(self) -> str:
        """A digest of the content of the part's files or, without a part, of all files."""
        return self._part.version if self._part else self.location.version

    @cached_property
    def _first_rows(self) -> np.ndarray:
        """The number of each file's first row, and the end (exclusive) of the last file."""
        return np.cumsum([self.first_row, *(file.stop - file.start for file in self._files)])

    @property
    def rows(self) -> int:
        """The number of rows; reads CSV files once to count theirs."""
        return int(self._first_rows[-1] - self.first_row)

    def file_of_row(self, row: int) -> str:
        """For messages: the file of row `row` and, if there are several files, its first row."""
        if len(self._files) == 1:
            return str(self._files[0].location)
        number = int(np.searchsorted(self._first_rows[:-1], row, side="right")) - 1
        return f"{self._files[number].location} (starts at row {self._first_rows[number] + 1})"

    def stream(self, names: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the columns `names` of all rows, as pairs (number of the first row, batch).

        A batch has `batch_rows` rows, or fewer at the end of a row group or part. Raises UserError
        if a file lacks a column, cannot be decoded, or is replaced during reading.
        """
        self.require_usable(names)
        schema = pa.schema([self.schema_arrow.field(name) for name in dict.fromkeys(names)])
        row = self.first_row
        for file in self._files:
            with file.location.reading(file.state):
                for batch in file.batches(schema, batch_rows):
                    yield row, batch
                    row += len(batch)

    def head(self, rows: int) -> pa.Table:
        """Up to `rows` rows, from the start of each file equally, without `incomplete` columns."""
        usable = [field for field in self.schema_arrow if field.name not in self.incomplete]
        schema, batches = pa.schema(usable), []
        for file in self._files:
            left = -(-rows // len(self._files))
            with file.location.reading(file.state):
                for batch in file.batches(schema, BATCH_ROWS):
                    batches.append(batch[:left])
                    left -= len(batch)
                    if left <= 0:
                        break
        return pa.Table.from_batches(batches, schema)[:rows].combine_chunks()

    def times(self, column: str) -> np.ndarray:
        """The rows' times [rows]: numbers, or datetime64 for dates and ISO 8601 texts.

        Texts must be all integers, all ISO 8601 with a zone, or all ISO 8601 without. Raises
        UserError if the column or a value is missing or has another type.
        """
        pieces, read_as = [], None
        for first_row, batch in self.stream([column], BATCH_ROWS):
            values = batch.column(0)
            is_missing = values.is_null(nan_is_null=True)
            try:
                if (missing := pc.index(is_missing, True).as_py()) >= 0:
                    raise ValueError(f"{row_name(first_row + missing)} has no value")
                read_as = read_as or _sort_type(values)
                cast = cast_rows(values, read_as, first_row)
                pieces.append(cast.to_numpy(zero_copy_only=False))
            except (ValueError, pa.ArrowException) as error:
                raise UserError(
                    f"{self.file_of_row(first_row)}: column {column!r}: {first_line(error)}; each "
                    f"row needs a number such as 20240131, a date, a timestamp, or a text such as "
                    f"2024-01-31 or 2024-01-31 23:59:00: correct the value or `columns.time`"
                ) from None
        return np.concatenate(pieces)

    def check_columns(self, columns: Columns, *extra: str) -> None:
        """Raise UserError if there are no rows, or a column in use is missing or has a wrong type.

        `extra` names further columns that must exist, such as label and ID; '' names none.
        """
        self.require_usable([name for name in (*columns.features, *extra) if name])
        if all(file.is_empty for file in self._files):
            raise UserError(f"{self.location}: there are no rows; give a file with rows")
        check_types(self.schema_arrow, columns, str(self.location))

    def require_usable(self, names: Sequence[str]) -> None:
        """Raise UserError if a column is missing, is twice in a file, or has conflicting types."""
        for name in names:
            if name in self.unusable:
                raise UserError(self.unusable[name])
        for file in self._files:
            if missing := [name for name in dict.fromkeys(names) if name not in file.columns]:
                near = closest_name(missing[0], file.schema.names)
                absent, existing = (
                    join_names([*map(repr, each)], _MAX_NAMED)
                    for each in (missing, file.schema.names)
                )
                hint = f"did you mean {near!r}?" if near else f"the file has {existing}."
                raise UserError(
                    f"{file.location}: there is no column {absent}; {hint} Correct the name in "
                    f"`columns` of the table file (score.py: in --id_column), or the CSV delimiter "
                    f"(`raw.delimiter`)"
                )

    def check_same_types(self, other: "RawTable", columns: Columns) -> None:
        """Raise UserError for a category or row time of incompatible type in the table `other`.

        Categories are compared as text, and equal values of incompatible types may differ as text.
        """
        for name in (*columns.categorical, *([columns.row_time] if columns.row_time else [])):
            types = [table.schema_arrow.field(name).type for table in (other, self)]
            if len({*map(text_format, types)} - {""}) > 1:
                raise UserError(
                    f"column {name!r} has type {types[0]} in {other.location} and {types[1]} in "
                    f"{self.location}, so equal values would differ as text; write the column "
                    f"with one type in both tables"
                )

    def listing(self, rows: int) -> PartList:
        """Divide the table into parts of about `rows` rows, and return the list of the parts."""
        files, delimiter, parts = self._files, self.location.delimiter, []
        unsplittable = {i for i, file in enumerate(files) if not file.is_splittable}
        for cuts in cut_files([file.row_group_sizes for file in files], rows, unsplittable):
            pieces = [
                FileSlice(str(files[i].location), files[i].location.version, start, stop)
                for i, start, stop in cuts
            ]
            digested = [
                (files[i].partition_keys, *astuple(p)[1:]) for (i, *_), p in zip(cuts, pieces)
            ]
            version = digest_of([*digested, delimiter])
            part_rows = sum(piece.stop - piece.start for piece in pieces)
            parts.append(Part(version, part_rows, self._key_types, pieces, delimiter=delimiter))
        return PartList(self.location.name, self.rows, parts)


def _key_types(files: Sequence[RawFile]) -> dict[str, str]:
    """The type of each column from folders named key=value."""
    types = {}
    for name in dict.fromkeys(name for file in files for name in file.partition_keys):
        values = (file.partition_keys.get(name) for file in files)
        is_integer = all(value is None or _INTEGER.fullmatch(value) for value in values)
        types[name] = "int64" if is_integer else "string"
    return types


def _sort_type(values: pa.Array) -> pa.DataType:
    """The type to cast a column of times to before sorting."""
    name = type_name(values.type)
    if name == "text":
        return time_type(values[0].as_py())
    if name == "float":
        return pa.int64() if pa.types.is_decimal(values.type) else pa.float64()
    if name in ("integer", "timestamp") or pa.types.is_date(values.type):
        return values.type
    raise pa.ArrowTypeError(f"values of type {values.type} are not times")
