"""Reading raw tables: one or more files of one format, checked and streamed as one table."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.errors import UserError, first_line, nearest, some_of
from ..common.files import digest_of
from ..common.prefetch import prefetch_map
from ..config.columns import Columns
from .file import File, Reading
from .formats import check_one_format, format_of
from .location import Location, TableLocation
from .parts import Listing, Part, Piece, cut
from .types import check_types, decoded, value_type, written_like

logger = logging.getLogger(__name__)

# Files of a table that are opened side by side; each takes a few requests to a store.
_OPENED_AT_ONCE = 8
# Rows of one read of a table's head.
_HEAD_ROWS = 4_096
# Columns in a message.
_MOST_NAMED = 8


class RawTable:
    """The files of a raw table, or of a part of it, as one table; all are of one format.

    Rows are numbered through the files in order, from the first row's place in its file on. A
    folder key=value above a file is a column of it, unless the file has one of that name; its type
    is int64 if all values are integers, else string. A column has the type that fits the values of
    all files, by pyarrow's permissive promotion. With a part, `written` names the files of its
    pieces, which must be those that were listed. The columns of CSV files have types by their roles
    in `columns`, and are text without one. Columns in `unusable`, by name with the reason, have
    types that do not go together, or occur twice in a file. Raises UserError if a file cannot be
    opened, or is simulated and another is not.
    """

    def __init__(
        self,
        written: str | Path | Sequence[str] | TableLocation,
        part: Part | None = None,
        columns: Columns | None = None,
    ) -> None:
        location = written if isinstance(written, TableLocation) else TableLocation(written)
        self.location = location
        check_one_format(location.files)
        how = Reading(columns, part.delimiter if part else location.delimiter)
        pieces: Sequence[Piece | None] = part.pieces if part else [None] * len(location.files)
        pairs = zip(location.files, pieces, strict=True)
        self._files = list(prefetch_map(lambda pair: _look_at(*pair, how), pairs, _OPENED_AT_ONCE))
        self.version = part.version if part else location.version
        self.first_row = self._files[0].start
        rows = [file.stop - file.start for file in self._files]
        self._first_rows = self.first_row + np.cumsum([0, *rows])[:-1]
        self.rows, self.bytes = sum(rows), sum(file.contents.bytes for file in self._files)
        self.is_simulated = self._files[0].is_simulated
        self._key_types = _key_types(self._files, part)
        for file in self._files:
            if file.is_simulated != self.is_simulated:
                raise UserError(
                    f"{location}: of {self._files[0].location} and {file.location} one was written "
                    f"by the simulation; real and simulated data are never mixed"
                )
        self.schema_arrow, self.unusable = self._joined_schema()

    def _joined_schema(self) -> tuple[pa.Schema, dict[str, str]]:
        """The columns of all files; and of those that cannot be used, the reason."""
        fields: dict[str, pa.Field] = {}
        unusable = {
            name: f"{file.location}: column {name!r} occurs twice; rename or drop one"
            for file in self._files
            for name in file.contents.repeated
        }
        for file in self._files:
            for field in self._schema(file):
                before = fields.get(field.name, field)
                if field.name in unusable or before.type == field.type:
                    fields.setdefault(field.name, field)
                    continue
                pair = [pa.schema([each]) for each in (before, field)]
                try:
                    (fields[field.name],) = pa.unify_schemas(pair, promote_options="permissive")
                except pa.ArrowException as error:
                    unusable[field.name] = (
                        f"{file.location}: column {field.name!r} does not go with that of the "
                        f"files before it: {first_line(error)}"
                    )
        kept = [field for name, field in fields.items() if name not in unusable]
        return pa.schema(kept, self._files[0].schema.metadata), unusable

    def where(self, row: int) -> str:
        """The file of a row, and its first row's number in the table, for messages."""
        number = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        location, first_row = self._files[number].location, self._first_rows[number]
        single = len(self._files) == 1
        return str(location) if single else f"{location} (from row {first_row:,} on)"

    def stream(self, names: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (number of its first row, batch) over all files, only these columns read.

        A batch has `batch_rows` rows, or fewer where a row group or the part ends. Raises UserError
        if a file lacks a column or cannot be decoded, or was replaced before its last batch.
        """
        names = list(dict.fromkeys(names))
        self.require_usable(names)
        self._check_present(names)
        schema = pa.schema([self.schema_arrow.field(name) for name in names])
        for file, row in zip(self._files, self._first_rows.tolist()):
            inside = [name for name in names if name not in file.keys]
            for batch in _batches(file, inside, batch_rows):
                yield row, _completed(batch, schema, file)
                row += len(batch)

    def head(self, rows: int) -> pa.Table:
        """The first rows, of the columns that all files have."""
        batches, left = [], rows
        schema, partial = self.schema_arrow, self.partial
        kept = [field for field in schema if field.name not in partial]
        schema = pa.schema(kept, schema.metadata)
        for _, batch in self.stream(schema.names, _HEAD_ROWS):
            batches.append(batch.slice(0, left))
            left -= len(batches[-1])
            if not left:
                break
        return pa.Table.from_batches(batches, schema).combine_chunks()

    @property
    def partial(self) -> set[str]:
        """The columns that some files lack."""
        in_all = set.intersection(*({*file.columns} for file in self._files))
        return {*self.schema_arrow.names} - in_all

    @property
    def has_types(self) -> bool:
        """True if files say the types of their columns; a CSV does not."""
        return not self._files[0].contents.is_one_part

    def check_columns(
        self, columns: Columns, extra: str, named: Mapping[str, str | None] | None = None
    ) -> None:
        """Raise UserError unless there are rows, and all columns in use have usable types.

        `extra` is the label or the ID, which must be there as well, and so must the columns that
        further keys of the table have `named`.
        """
        keys_of = {name: key for key, name in (named or {}).items() if name}
        wanted = tuple(dict.fromkeys((*columns.features, extra, *keys_of)))
        present = list(dict.fromkeys(self.schema_arrow.names))
        self.require_usable(wanted)
        missing = [name for name in wanted if name not in present]
        if missing:
            raise self._lacks(missing, present, len(wanted), keys_of)
        if self.rows == 0:
            raise UserError(f"{self.location}: the file has no rows; give one with rows")
        self._check_present(wanted)
        check_types(self.schema_arrow, columns, str(self.location))
        used = {*wanted}
        unused = [name for name in present if name not in used]
        if unused:
            logger.info("%s: %d columns not in use: %s", self.location, len(unused), _some(unused))

    def _lacks(
        self, missing: Sequence[str], present: Sequence[str], wanted: int, keys: Mapping[str, str]
    ) -> UserError:
        """The error that columns are missing of those wanted; `keys` name some of them."""
        named = ", ".join(f"{keys[name]} names {name!r}" for name in missing if name in keys)
        near = {name: nearest(name, present) for name in missing}
        meant = ", ".join(f"{each!r} for {name!r}" for name, each in near.items() if each)
        texts = [
            f"{self.location}: {len(missing)} of {wanted} columns are missing: {_some(missing)}",
            f" ({named})" if named else "",
            f"; did you mean {meant}?" if meant else ";",
            f" The file has {len(present)}: {_some(present)}; ",
            "" if len(present) > 1 or self.has_types else "name their separator in raw.delimiter, ",
            "correct columns in the table's file, or leave their group out of columns.use; for "
            "scripts/score.py, --id_column names the ID",
        ]
        return UserError("".join(texts))

    def check_kinds(self, other: "RawTable", columns: Columns) -> None:
        """Raise UserError if a category or a row's time has an incompatible type in the other.

        Values are compared as they are written: 7 is neither 07 nor true.
        """
        for name in (*columns.categorical, *([columns.row_time] if columns.row_time else [])):
            types = [file.schema_arrow.field(name).type for file in (other, self)]
            kinds = set(map(written_like, types))
            if len(kinds - {""}) > 1:
                how = "take one type"
                if not (self.has_types and other.has_types):
                    how = "write both tables in one format, or the column as text in both"
                raise UserError(
                    f"column {name!r} has type {types[0]} in {other.location} and {types[1]} in "
                    f"{self.location}; values are compared as they are written: {how}"
                )

    def listing(self, rows: int) -> Listing:
        """The table in parts of about `rows` rows."""
        files = self._files
        key_types = {name: str(each) for name, each in self._key_types.items()}
        parts = []
        whole = {i for i, file in enumerate(files) if file.contents.is_one_part}
        delimiter = self.location.delimiter
        how = [] if delimiter is None else [delimiter]
        for cuts in cut([file.contents.group_rows for file in files], rows, whole):
            pieces = [Piece(str(files[i].location), files[i].version, *b) for i, *b in cuts]
            said = [(files[i].keys, files[i].version, *b) for i, *b in cuts]
            part_rows = sum(b - a for _, a, b in cuts)
            part = Part(digest_of([*said, *how]), part_rows, key_types, pieces, delimiter=delimiter)
            parts.append(part)
        logger.info("%s: %s rows in %d parts", self.location, f"{self.rows:,}", len(parts))
        return Listing(self.location.name, self.rows, parts)

    def _schema(self, file: File) -> pa.Schema:
        """The columns of a file and its folders."""
        return pa.schema([*file.schema, *((name, self._key_types[name]) for name in file.keys)])

    def require_usable(self, names: Sequence[str]) -> None:
        """Raise UserError if a column occurs twice in a file, or in types that do not fit."""
        for name in names:
            if name in self.unusable:
                raise UserError(self.unusable[name])

    def _check_present(self, names: Sequence[str]) -> None:
        """Raise UserError if a file lacks a column that others have."""
        for file in self._files:
            present = file.columns
            missing = [name for name in names if name not in present]
            if missing:
                raise UserError(
                    f"{file.location}: there is no column {missing[0]!r}; every file of a table "
                    f"has the columns in use"
                )


def _look_at(location: Location, piece: Piece | None, how: Reading) -> File:
    # Taken before it is opened: if it is replaced in between, its version differs in the end.
    version = location.version
    if piece is not None:
        how = replace(how, rows=piece.stop)
        if piece.version != version:
            raise UserError(
                f"{location}: was replaced since the parts of its table were listed; run the same "
                f"command again"
            )
    with location.reading():
        contents = format_of(location).contents(location, version, how)
        fields = [field.with_type(value_type(field.type)) for field in contents.schema]
        contents = replace(contents, schema=pa.schema(fields, contents.schema.metadata))
    names = contents.schema.names
    (most, times), *_ = [*Counter(names).most_common(1), ("", 0)]
    if times > 1:
        raise UserError(f"{location}: column {most!r} occurs twice; rename or drop one")
    # Some writers leave the columns of the folders in the files.
    keys = {name: key for name, key in location.keys.items() if name not in names}
    bounds = (piece.start, piece.stop) if piece else (0, sum(contents.group_rows))
    return File(location, version, contents, keys, *bounds, how.delimiter)


def _key_types(files: Sequence[File], part: Part | None) -> dict[str, pa.DataType]:
    """The types of the columns that folders give; a part has those of the whole table."""
    types = {}
    for name in dict.fromkeys(name for file in files for name in file.keys):
        try:
            values = pa.array([file.keys.get(name) for file in files], pa.string())
            # 07 is a text, even for a caller that has only some of the folders.
            is_whole = values.cast(pa.int64()).cast(pa.string()).equals(values)
            key_type = part.key_types.get(name) if part else "int64" if is_whole else "string"
        except pa.ArrowInvalid:
            key_type = "string"
        types[name] = pa.int64() if key_type == "int64" else pa.string()
    return types


def _batches(file: File, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a file that are read."""
    with file.location.reading(file.version):
        yield from format_of(file.location).batches(file, names, rows)


def _completed(batch: pa.RecordBatch, schema: pa.Schema, file: File) -> pa.RecordBatch:
    """A batch of one file with all columns, in the table's types."""
    columns = [
        pa.repeat(pa.scalar(file.keys[field.name], pa.string()), len(batch))
        if field.name in file.keys
        else decoded(batch.column(field.name))
        for field in schema
    ]
    cast = []
    for column, field in zip(columns, schema):
        try:
            # Arrow's cast of lists of null to the same type makes an invalid array.
            cast.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowException as error:
            raise UserError(
                f"{file.location}: column {field.name!r} has type {column.type}, with the other "
                f"files {field.type}, and not all values fit both ({first_line(error)}); write all "
                f"files with one type"
            ) from None
    return pa.RecordBatch.from_arrays(cast, schema=schema)


def _some(names: Sequence[str]) -> str:
    """The first of some names, for messages."""
    return some_of([*map(repr, names)], _MOST_NAMED)
