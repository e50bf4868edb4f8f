"""Reading raw tables: one or more files, checked and streamed as one table."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError, closest_name, first_line, row_name, shortened_list
from ..common.files import digest_of
from ..common.prefetch import prefetch_map
from ..config.columns import Columns
from .formats import CSV_ENDINGS, CsvFile, ParquetFile, RawFile
from .location import Location, TableLocation
from .parts import FileSlice, Listing, Part, cut
from .values import cast_rows, check_types, time_type, type_name, written_like

# Rows per read of few columns: 16 MB if sequences have 500 events.
BATCH_ROWS = 8_192
# Files of a table that are opened in parallel; each takes a few requests to a store.
_OPENED_AT_ONCE = 8
_MAX_NAMED = 8
_WHOLE = re.compile("0|-?[1-9][0-9]{0,17}")


class RawTable:
    """The files of a raw table, or of a part of it, as one table.

    Rows are numbered across files in order; the first row keeps its number in its own file. A
    folder key=value above a file adds a column `key`, unless the file has one of that name; its
    type is int64 if all values are integers, else string. A column's type fits the values of all
    files, by pyarrow's permissive promotion. If `part` is given, `raw` names its files, which
    must not have changed since they were listed. CSV columns get types from their roles in
    `columns`; without a role they are text. `unusable` gives the reason for each column whose types
    conflict or that occurs twice in a file; columns in `partial` are missing from some files.
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
            file, piece = pair
            with file.reading():
                if file.name.lower().endswith(CSV_ENDINGS):
                    return CsvFile(file, piece, columns, delimiter)
                return ParquetFile(file, piece)

        pieces: Sequence[FileSlice | None] = part.pieces if part else [None] * len(location.files)
        pairs = zip(location.files, pieces, strict=True)
        self._files = files = [*prefetch_map(opened, pairs, _OPENED_AT_ONCE)]
        self.first_row = files[0].start
        self.has_types = not files[0].is_one_part
        self.is_simulated = files[0].is_simulated
        for file in files:
            if file.is_simulated != self.is_simulated:
                raise UserError(f"{file.location}: simulated and real files are never mixed")
        # A part has only some folders, but a key 07 in any folder makes the column text.
        self._key_types = part.key_types if part else _key_types(files)
        self.schema_arrow, self.unusable = self._joined_schema()
        in_all = set.intersection(*(file.columns for file in files))
        self.partial = {*self.schema_arrow.names} - in_all

    def _joined_schema(self) -> tuple[pa.Schema, dict[str, str]]:
        """The schema of all usable columns, and the reasons why others are unusable."""
        fields: dict[str, pa.Field] = {}
        unusable = {
            name: f"{file.location}: column {name!r} occurs twice; rename or drop one"
            for file in self._files
            for name in file.repeated
        }
        for file in self._files:
            keys = [(name, pa.type_for_alias(self._key_types[name])) for name in file.keys]
            for field in (*file.schema, *pa.schema(keys)):
                pair = pa.schema([fields.get(field.name, field)]), pa.schema([field])
                try:
                    (fields[field.name],) = pa.unify_schemas(pair, promote_options="permissive")
                except pa.ArrowException as error:
                    unusable.setdefault(
                        field.name,
                        f"{file.location}: column {field.name!r} does not go with that of the "
                        f"files before it: {first_line(error)}",
                    )
        kept = [field for name, field in fields.items() if name not in unusable]
        return pa.schema(kept), unusable

    @property
    def version(self) -> str:
        """The version of the part, or of all files."""
        return self._part.version if self._part else self.location.version

    @cached_property
    def _first_rows(self) -> np.ndarray:
        """The number of each file's first row, then the end of the last file."""
        return np.cumsum([self.first_row, *(file.stop - file.start for file in self._files)])

    @property
    def rows(self) -> int:
        """The number of rows; to count those of CSV files, the files are read once."""
        return int(self._first_rows[-1] - self.first_row)

    def where(self, row: int) -> str:
        """The file that has a row, and the number of the file's first row, for messages."""
        if len(self._files) == 1:
            return str(self._files[0].location)
        number = int(np.searchsorted(self._first_rows[:-1], row, side="right")) - 1
        return f"{self._files[number].location} (from row {self._first_rows[number] + 1} on)"

    def stream(self, names: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (number of the batch's first row, batch) over all files; reads only these columns.

        A batch has `batch_rows` rows, or fewer where a row group or the part ends. Raises UserError
        if a file lacks a column, cannot be decoded, or is replaced while it is read.
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
        """The first rows of all files, as many of each, with the columns that all files have."""
        kept = [field for field in self.schema_arrow if field.name not in self.partial]
        schema, batches = pa.schema(kept), []
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
        """The rows' times, [rows]: numbers, or datetime64 for dates and ISO texts.

        Texts must all be whole numbers, or all in ISO 8601, with zones or without. Raises UserError
        if the column or a value is missing, or has another type.
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
                    f"{self.where(first_row)}: column {column!r}: {first_line(error)}; "
                    f"columns.time takes whole numbers such as 20240131, dates, timestamps, or "
                    f"texts such as 2024-01-31 or 2024-01-31 23:59:00, in every row"
                ) from None
        return np.concatenate(pieces)

    def check_columns(self, columns: Columns, *others: str) -> None:
        """Raise UserError unless there are rows, and all columns in use have usable types.

        `others` must exist, too: the label or the ID, and the columns of rows' times or groups.
        """
        wanted = (*columns.features, *others)
        self.require_usable(wanted)
        if all(file.is_empty for file in self._files):
            raise UserError(f"{self.location}: the file has no rows; give one with rows")
        check_types(self.schema_arrow, columns, str(self.location))

    def require_usable(self, names: Sequence[str]) -> None:
        """Raise UserError if a file lacks a column or has it twice, or if its types conflict."""
        for name in names:
            if name in self.unusable:
                raise UserError(self.unusable[name])
        for file in self._files:
            if missing := [name for name in dict.fromkeys(names) if name not in file.columns]:
                there, absent = (
                    shortened_list([*map(repr, each)], _MAX_NAMED)
                    for each in (file.schema.names, missing)
                )
                near = closest_name(missing[0], file.schema.names)
                raise UserError(
                    f"{file.location}: there is no column {absent}; the file has {there}"
                    f"{f'; did you mean {near!r}?' if near else '.'} Correct "
                    f"`columns` in the table's file (for scripts/score.py --id_column), or the "
                    f"delimiter of a CSV file (raw.delimiter)"
                )

    def check_kinds(self, other: "RawTable", columns: Columns) -> None:
        """Raise UserError if a categorical or row time column has another type in the other table.

        Values are compared as text: 7 equals neither 07 nor true.
        """
        for name in (*columns.categorical, *([columns.row_time] if columns.row_time else [])):
            types = [table.schema_arrow.field(name).type for table in (other, self)]
            if len({*map(written_like, types)} - {""}) > 1:
                raise UserError(
                    f"column {name!r} has type {types[0]} in {other.location} and {types[1]} in "
                    f"{self.location}; values are compared as text: write the column as text in "
                    f"both, or use one format for both tables"
                )

    def listing(self, rows: int) -> Listing:
        """The table in parts of about `rows` rows."""
        files, delimiter, parts = self._files, self.location.delimiter, []
        whole = {i for i, file in enumerate(files) if file.is_one_part}
        how = [] if delimiter is None else [delimiter]
        for cuts in cut([file.group_rows for file in files], rows, whole):
            pieces = [
                FileSlice(str(files[i].location), files[i].location.version, start, stop)
                for i, start, stop in cuts
            ]
            digested = [(files[i].keys, *astuple(p)[1:]) for (i, *_), p in zip(cuts, pieces)]
            version = digest_of([*digested, *how])
            part_rows = sum(piece.stop - piece.start for piece in pieces)
            parts.append(Part(version, part_rows, self._key_types, pieces, delimiter=delimiter))
        return Listing(self.location.name, self.rows, parts)


def _key_types(files: Sequence[RawFile]) -> dict[str, str]:
    """The types of the columns that folders key=value add."""
    types = {}
    for name in dict.fromkeys(name for file in files for name in file.keys):
        keys = (file.keys.get(name) for file in files)
        is_whole = all(key is None or _WHOLE.fullmatch(key) for key in keys)
        types[name] = "int64" if is_whole else "string"
    return types


def _sort_type(values: pa.Array) -> pa.DataType:
    """The type that sorts a column's values by time."""
    name = type_name(values.type)
    if name == "text":
        return time_type(values[0].as_py())
    if name == "float":
        return pa.int64() if pa.types.is_decimal(values.type) else pa.float64()
    if name in ("integer", "timestamp") or pa.types.is_date(values.type):
        return values.type
    raise pa.ArrowTypeError(f"type {values.type} has no order in time")
