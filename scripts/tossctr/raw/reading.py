"""Reading raw tables: one or more files, checked and streamed as one table."""

import logging
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.errors import UserError, first_line, nearest, some_of
from ..common.files import digest_of
from ..common.parquet import SIMULATED_MARK
from ..common.prefetch import prefetch_map
from ..config.columns import Columns
from .file import File
from .location import Location, TableLocation
from .parquet_file import ParquetFile
from .parts import Listing, Part, Piece, cut
from .text_file import ENDINGS, TextFile
from .types import check_types, decoded, written_like

logger = logging.getLogger(__name__)

# Files of a table that are opened side by side; each takes a few requests to a store.
_OPENED_AT_ONCE = 8
# Rows of one read of a table's head.
_HEAD_ROWS = 4_096
# Columns in a message.
_MOST_NAMED = 8
_WHOLE = re.compile("0|-?[1-9][0-9]{0,17}")


class RawTable:
    """The files of a raw table, or of a part of it, as one table.

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
        self.location, self._part = location, part
        delimiter = part.delimiter if part else location.delimiter

        def opened(pair: tuple[Location, Piece | None]) -> File:
            file, piece = pair
            with file.reading():
                if file.name.lower().endswith(ENDINGS):
                    return TextFile(file, piece, columns, delimiter)
                return ParquetFile(file, piece)

        pieces: Sequence[Piece | None] = part.pieces if part else [None] * len(location.files)
        pairs = zip(location.files, pieces, strict=True)
        self._files = list(prefetch_map(opened, pairs, _OPENED_AT_ONCE))
        self.first_row = self._files[0].start
        self.has_types = not self._files[0].is_one_part
        marked = [SIMULATED_MARK.items() <= (f.schema.metadata or {}).items() for f in self._files]
        self.is_simulated = marked[0]
        if len({*marked}) > 1:
            other = self._files[marked.index(not marked[0])].location
            raise UserError(f"{other}: real and simulated data are never mixed in a table")
        self._key_types = _key_types(self._files, part)
        self.schema_arrow, self.unusable = self._joined_schema()

    def _joined_schema(self) -> tuple[pa.Schema, dict[str, str]]:
        """The columns of all files; and of those that cannot be used, the reason."""
        fields: dict[str, pa.Field] = {}
        unusable = {
            name: f"{file.location}: column {name!r} occurs twice; rename or drop one"
            for file in self._files
            for name in file.repeated
        }
        for file in self._files:
            keys = [pa.field(name, self._key_types[name]) for name in file.keys]
            for field in (*file.schema, *keys):
                before = fields.setdefault(field.name, field)
                if before.type == field.type:
                    continue
                try:
                    pair = pa.schema([before]), pa.schema([field])
                    (fields[field.name],) = pa.unify_schemas(pair, promote_options="permissive")
                except pa.ArrowException as error:
                    unusable.setdefault(
                        field.name,
                        f"{file.location}: column {field.name!r} does not go with that of the "
                        f"files before it: {first_line(error)}",
                    )
        kept = [field for name, field in fields.items() if name not in unusable]
        return pa.schema(kept, self._files[0].schema.metadata), unusable

    @property
    def version(self) -> str:
        """That of the part, or of all files."""
        return self._part.version if self._part else self.location.version

    @cached_property
    def _first_rows(self) -> np.ndarray:
        """The number of each file's first row, and of the first row behind all."""
        return np.cumsum([self.first_row, *(file.stop - file.start for file in self._files)])

    @property
    def rows(self) -> int:
        """The number of rows, for which CSV files are read once."""
        return int(self._first_rows[-1] - self.first_row)

    def where(self, row: int) -> str:
        """The file of a row, and its first row's number in the table, for messages."""
        if len(self._files) == 1:
            return str(self._files[0].location)
        number = int(np.searchsorted(self._first_rows[:-1], row, side="right")) - 1
        return f"{self._files[number].location} (from row {self._first_rows[number]:,} on)"

    def stream(self, names: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (number of its first row, batch) over all files, only these columns read.

        A batch has `batch_rows` rows, or fewer where a row group or the part ends. Raises UserError
        if a file lacks a column or cannot be decoded, or was replaced before its last batch.
        """
        names = list(dict.fromkeys(names))
        self.require_usable(names)
        schema = pa.schema([self.schema_arrow.field(name) for name in names])
        row = self.first_row
        for file in self._files:
            inside = [name for name in names if name not in file.keys]
            with file.location.reading(file.state):
                for batch in file.batches(inside, batch_rows):
                    yield row, _completed(batch, schema, file)
                    row += len(batch)

    def head(self, rows: int) -> pa.Table:
        """The first rows, of the columns that all files have."""
        partial, batches = self.partial, []
        schema = pa.schema([each for each in self.schema_arrow if each.name not in partial])
        for first_row, batch in self.stream(schema.names, _HEAD_ROWS):
            batches.append(batch)
            if first_row + len(batch) >= self.first_row + rows:
                break
        return pa.Table.from_batches(batches, schema)[:rows].combine_chunks()

    @property
    def partial(self) -> set[str]:
        """The columns that some files lack."""
        in_all = set.intersection(*(file.columns for file in self._files))
        return {*self.schema_arrow.names} - in_all

    def check_columns(self, columns: Columns, *others: str) -> None:
        """Raise UserError unless there are rows, and all columns in use have usable types.

        `others` must be there as well: the label or the ID, and a time or a group of rows.
        """
        wanted = (*columns.features, *others)
        self.require_usable(wanted)
        if all(file.is_empty for file in self._files):
            raise UserError(f"{self.location}: the file has no rows; give one with rows")
        check_types(self.schema_arrow, columns, str(self.location))
        unused = [name for name in self.schema_arrow.names if name not in wanted]
        if unused:
            logger.info("%s: %d columns not in use: %s", self.location, len(unused), _some(unused))

    def require_usable(self, names: Sequence[str]) -> None:
        """Raise UserError if a file lacks a column, or has it twice or in types that do not fit."""
        for name in names:
            if name in self.unusable:
                raise UserError(self.unusable[name])
        for file in self._files:
            missing = [name for name in dict.fromkeys(names) if name not in file.columns]
            if missing:
                near = nearest(missing[0], file.schema.names)
                raise UserError(
                    f"{file.location}: there is no column {_some(missing)}"
                    f"{f'; did you mean {near!r}?' if near else ';'} It has "
                    f"{_some(file.schema.names)}; correct `columns` in the table's file "
                    f"(for scripts/score.py --id_column), or the delimiter of a CSV file "
                    f"(raw.delimiter)"
                )

    def check_kinds(self, other: "RawTable", columns: Columns) -> None:
        """Raise UserError if a category or a row's time has an incompatible type in the other.

        Values are compared as they are written: 7 is neither 07 nor true.
        """
        for name in (*columns.categorical, *([columns.row_time] if columns.row_time else [])):
            types = [file.schema_arrow.field(name).type for file in (other, self)]
            if len({*map(written_like, types)} - {""}) > 1:
                raise UserError(
                    f"column {name!r} has type {types[0]} in {other.location} and {types[1]} in "
                    f"{self.location}; values are compared as they are written: write it as text "
                    f"in both, or both tables in one format"
                )

    def listing(self, rows: int) -> Listing:
        """The table in parts of about `rows` rows."""
        files, delimiter = self._files, self.location.delimiter
        key_types = {name: str(each) for name, each in self._key_types.items()}
        how = [] if delimiter is None else [delimiter]
        whole = {i for i, file in enumerate(files) if file.is_one_part}
        parts = []
        for cuts in cut([file.group_rows for file in files], rows, whole):
            versions = {i: files[i].location.version for i, *_ in cuts}
            pieces = [Piece(str(files[i].location), versions[i], *bounds) for i, *bounds in cuts]
            said = [(files[i].keys, versions[i], *bounds) for i, *bounds in cuts]
            part_rows = sum(piece.stop - piece.start for piece in pieces)
            version = digest_of([*said, *how])
            parts.append(Part(version, part_rows, key_types, pieces, delimiter=delimiter))
        logger.info("%s: %s rows in %d parts", self.location, f"{self.rows:,}", len(parts))
        return Listing(self.location.name, self.rows, parts)


def _key_types(files: Sequence[File], part: Part | None) -> dict[str, pa.DataType]:
    """The types of the columns that folders give; a part has those of the whole table."""
    types = dict(part.key_types) if part else {}
    for name in dict.fromkeys(name for file in files for name in file.keys):
        # 07 is a text, even for a caller that has only some of the folders.
        keys = (file.keys.get(name) for file in files)
        is_whole = all(key is None or _WHOLE.fullmatch(key) for key in keys)
        types.setdefault(name, "int64" if is_whole else "string")
    return {name: pa.type_for_alias(each) for name, each in types.items()}


def _completed(batch: pa.RecordBatch, schema: pa.Schema, file: File) -> pa.RecordBatch:
    """A batch of one file with all columns, in the table's types."""
    columns = []
    for field in schema:
        if field.name in file.keys:
            column = pa.repeat(pa.scalar(file.keys[field.name], pa.string()), len(batch))
        else:
            column = decoded(batch.column(field.name))
        try:
            # Arrow's cast of lists of null to the same type makes an invalid array.
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowException as error:
            raise UserError(
                f"{file.location}: column {field.name!r} is not {field.type}, as with the other "
                f"files ({first_line(error)}); write all files with one type"
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _some(names: Sequence[str]) -> str:
    """The first of some names, for messages."""
    return some_of([*map(repr, names)], _MOST_NAMED)
