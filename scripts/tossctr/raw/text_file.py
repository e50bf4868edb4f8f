"""CSV and TSV files: a header, then a row a line; a quoted value may hold line breaks.

The files have no types. A column in use is read as its role wants it: numeric columns as float64, a
row's time as integers or timestamps, all others as text. An empty value is missing.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ..common.errors import UserError
from ..config.columns import Columns
from .file import File
from .location import Location
from .parts import Piece
from .text import MEANS_MISSING, time_type, whole_numbers
from .types import cast_rows

logger = logging.getLogger(__name__)

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
# Bytes that are parsed at once, and one request for a remote file; no line may be longer.
_BLOCK_BYTES = 1 << 23
_NO_NUMBER = pa.array(["", *MEANS_MISSING])


@contextmanager
def open_csv(
    location: Location, names: Sequence[str], *, delimiter: str = ",", only: bool = True
) -> Iterator[pacsv.CSVStreamingReader]:
    """A reader of the named columns, as bytes, or of all; an empty value is null."""
    with location.open_text() as stream:
        yield pacsv.open_csv(
            stream,
            # Threads make it no faster, and with them no row knows its number.
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                include_columns=list(names) if only else None,
                column_types=dict.fromkeys(names, pa.binary()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )


class TextFile(File):
    """A CSV or TSV file, whose columns have types by their roles in `columns`, or are text."""

    is_one_part = True

    def __init__(
        self,
        location: Location,
        piece: Piece | None,
        columns: Columns | None,
        delimiter: str | None,
    ) -> None:
        is_tsv = re.search(r"\.tsv(\.gz)?$", location.name, re.IGNORECASE)
        self._delimiter = delimiter or ("\t" if is_tsv else ",")
        self._numeric = columns.numeric if columns else ()
        self._times = [columns.row_time] if columns and columns.row_time else []
        super().__init__(location, piece)

    def _read_schema(self) -> pa.Schema:
        with open_csv(self.location, self._times, delimiter=self._delimiter, only=False) as reader:
            names = reader.schema.names
            first = next((batch for batch in reader if len(batch)), None)
        self.is_empty = first is None
        types = dict.fromkeys(names, pa.string()) | dict.fromkeys(self._numeric, pa.float64())
        for name in self._times:
            # A first row without a time is refused later on.
            types[name] = pa.null()
            if first is not None and names.count(name) == 1:
                value = first[name].cast(pa.string())[0].as_py() or "0"
                types[name] = time_type(value.strip())
        return pa.schema([(name, types[name]) for name in names])

    @cached_property
    def group_rows(self) -> list[int]:
        """The number of all rows."""
        logger.info("%s: counting its rows", self.location)
        with self.location.reading():
            return [sum(map(len, self._blocks(self.schema.names[:1])))]

    def _blocks(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with open_csv(self.location, names, delimiter=self._delimiter) as reader:
            yield from reader

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """All rows; raises UserError for a value that is not of its column's type."""
        # Without a column, a batch would not tell its rows.
        read, row = list(names) or self.schema.names[:1], 0
        for block in self._blocks(read):
            for start in range(0, len(block), rows):
                batch = block.slice(start, rows)
                typed = [self._typed(batch[name], name, row) for name in read]
                yield pa.RecordBatch.from_arrays(typed, read)
                row += len(batch)

    def _typed(self, column: pa.Array, name: str, first_row: int) -> pa.Array:
        """A column of bytes in its type."""
        wanted = self.schema.field(name).type
        try:
            text = cast_rows(column, pa.string(), first_row)
            if pa.types.is_string(wanted):
                return whole_numbers(text)
            with suppress(pa.ArrowException):
                return text.cast(wanted)
            plain = pc.utf8_lower(pc.utf8_trim_whitespace(text))
            for word, digit in (("true", "1"), ("false", "0")):
                plain = pc.if_else(pc.equal(plain, word), digit, plain)
            is_missing = pc.is_in(plain, value_set=_NO_NUMBER)
            return cast_rows(pc.if_else(is_missing, None, plain), wanted, first_row)
        except ValueError as error:
            raise UserError(f"{self.location}: column {name!r}, {error}") from None
