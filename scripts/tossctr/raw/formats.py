"""Files of a raw table: parquet, or CSV and TSV with a header.

CSV files have no types, so a column's role decides its type: numeric columns are float64, the rows'
times are integers or timestamps, and all other columns are text. An empty value is missing. A
quoted value may contain line breaks.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ..common.errors import UserError, first_line
from ..common.parquet import SIMULATED_MARK
from ..config.columns import Columns
from .location import Location
from .parts import FileSlice
from .values import MISSING_WORDS, cast_rows, decode, decoded_type, drop_zero_decimals, time_type

CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
# Bytes of CSV per parsing step and per remote request; the longest line that can be read.
_BLOCK_BYTES = 1 << 23
_NO_NUMBER = pa.array(["", *MISSING_WORDS])
# Their indices are their numbers.
_BOOLEANS = pa.array(["false", "true"])
# A remote row group of at most this many bytes is read in one request, since requests are slow.
# Larger row groups and local row groups are read in pieces, which bounds the memory.
MAX_GROUP_BYTES = 1 << 30
# Bytes per read of a parquet column, by `is_remote`.
_BUFFER_BYTES = {False: 1 << 16, True: 1 << 22}


class RawFile(ABC):
    """A file of a raw table; all its rows are read, or only those in `file_slice`.

    schema               the columns and their types, without `duplicate_columns`
    duplicate_columns    names of columns that occur more than once
    partition_keys       columns from folders key=value above the file, each with its value
    row_group_sizes      the number of rows in each row group
    is_splittable        False if reading must begin at the file's start, as in CSV files
    """

    is_splittable = True
    is_empty: bool
    row_group_sizes: list[int]

    def __init__(self, location: Location, file_slice: FileSlice | None) -> None:
        # The state before opening; if it differs after reading, the file was replaced meanwhile.
        self.location, self.file_slice, self.state = location, file_slice, location.state()
        if file_slice is not None and file_slice.version != location.version:
            raise UserError(
                f"{location}: was replaced after the table was divided into parts; run the same "
                f"command again"
            )
        schema = self._read_schema()
        self.duplicate_columns = {name for name, n in Counter(schema.names).items() if n > 1}
        fields = [field for field in schema if field.name not in self.duplicate_columns]
        fields = [field.with_type(decoded_type(field.type)) for field in fields]
        self.schema = pa.schema(fields)
        self.is_simulated = SIMULATED_MARK.items() <= (schema.metadata or {}).items()
        # Some writers store the partition columns in the files, too.
        keys = location.partition_keys.items()
        self.partition_keys = {name: key for name, key in keys if name not in schema.names}
        self.columns = {*schema.names, *self.partition_keys}
        self.start = file_slice.start if file_slice else 0

    @cached_property
    def stop(self) -> int:
        """The number of the last row that is read, plus 1."""
        return self.file_slice.stop if self.file_slice else sum(self.row_group_sizes)

    @abstractmethod
    def _read_schema(self) -> pa.Schema:
        """Open the file, set its attributes and return its schema."""

    @abstractmethod
    def _batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of at most `rows` rows, with these columns of the file itself."""

    def batches(self, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield batches of at most `rows` rows, with the columns and types of `schema`."""
        in_file = [name for name in schema.names if name not in self.partition_keys]
        for batch in self._batches(in_file, rows):
            columns = [self._column(batch, field) for field in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _column(self, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        if field.name in self.partition_keys:
            column = pa.repeat(pa.scalar(self.partition_keys[field.name], pa.string()), len(batch))
        else:
            column = decode(batch.column(field.name))
        try:
            # Arrow makes an invalid array if it casts lists of null to their own type.
            return column if column.type == field.type else column.cast(field.type)
        except pa.ArrowException as error:
            raise UserError(
                f"{self.location}: column {field.name!r} cannot be read as {field.type}, its type "
                f"in other files ({first_line(error)}); write it with the same type in all files"
            ) from None


class ParquetFile(RawFile):
    """A parquet file, read row group by row group."""

    def _read_schema(self) -> pa.Schema:
        with self.location.open() as source:
            file = pq.ParquetFile(source, coerce_int96_timestamp_unit="us")
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        self.row_group_sizes = [group.num_rows for group in groups]
        self.is_empty = not sum(self.row_group_sizes)
        self._max_bytes = max((group.total_byte_size for group in groups), default=0)
        return file.schema_arrow

    def _batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        is_remote = self.location.is_remote
        at_once = is_remote and self._max_bytes <= MAX_GROUP_BYTES
        with self.location.open() as source:
            parquet = pq.ParquetFile(
                source,
                pre_buffer=at_once,
                buffer_size=0 if at_once else _BUFFER_BYTES[is_remote],
                page_checksum_verification=True,
                # Nanoseconds overflow after the year 2262.
                coerce_int96_timestamp_unit="us",
            )
            for group, end in enumerate(accumulate(self.row_group_sizes)):
                row = end - self.row_group_sizes[group]
                if end <= self.start or row >= self.stop:
                    continue
                for batch in parquet.iter_batches(rows, [group], names):
                    inside = batch[max(self.start - row, 0) : max(self.stop - row, 0)]
                    if len(inside):
                        yield inside
                    row += len(batch)
                    if row >= self.stop:
                        break


class CsvFile(RawFile):
    """A CSV or TSV file, whose columns get types by their roles in `columns`.

    `delimiter` separates the values; None: a tab in TSV files, a comma in CSV files.
    """

    is_splittable = False

    def __init__(
        self,
        location: Location,
        file_slice: FileSlice | None,
        columns: Columns | None,
        delimiter: str | None,
    ) -> None:
        is_tsv = re.search(r"\.tsv(\.gz)?$", location.name, re.IGNORECASE)
        self._delimiter = delimiter or ("\t" if is_tsv else ",")
        self._numeric = columns.numeric if columns else ()
        self._time = (columns and columns.row_time) or ""
        super().__init__(location, file_slice)

    def _read_schema(self) -> pa.Schema:
        reader = self._open([])
        names = reader.schema.names
        self.is_empty = not any(map(len, reader))
        types = dict.fromkeys(names, pa.string()) | dict.fromkeys(self._numeric, pa.float64())
        if names.count(self._time) == 1:
            types[self._time] = self._type_of_times()
        return pa.schema([(name, types[name]) for name in names])

    def _type_of_times(self) -> pa.DataType:
        """The type of the first value; missing values raise an error later."""
        for block in self._open([self._time]):
            if len(block):
                return time_type((block[0][:1].cast(pa.string())[0].as_py() or "0").strip())
        return pa.null()

    @cached_property
    def row_group_sizes(self) -> list[int]:  # type: ignore[override]
        """The row count, as a list of one number; the first use counts the rows in the file."""
        with self.location.reading():
            return [sum(map(len, self._open(self.schema.names[:1])))]

    def _open(self, names: Sequence[str]) -> pacsv.CSVStreamingReader:
        return open_csv(self.location, names, delimiter=self._delimiter)

    def _batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        # A batch needs a column to have a number of rows.
        read, row = list(names) or self.schema.names[:1], 0
        for block in self._open(read):
            for start in range(0, len(block), rows):
                batch = block.slice(start, rows)
                typed = [self._typed(batch[name], name, row) for name in read]
                yield pa.RecordBatch.from_arrays(typed, read)
                row += len(batch)

    def _typed(self, column: pa.Array, name: str, first_row: int) -> pa.Array:
        """Cast a column of bytes to its type in the schema."""
        wanted = self.schema.field(name).type
        try:
            text = cast_rows(column, pa.string(), first_row)
            if pa.types.is_string(wanted):
                return drop_zero_decimals(text)
            with suppress(pa.ArrowException):
                return text.cast(wanted)
            plain = pc.utf8_lower(pc.utf8_trim_whitespace(text))
            plain = pc.coalesce(pc.index_in(plain, _BOOLEANS).cast(pa.string()), plain)
            is_missing = pc.is_in(plain, value_set=_NO_NUMBER)
            return cast_rows(pc.if_else(is_missing, None, plain), wanted, first_row)
        except ValueError as error:
            raise UserError(
                f"{self.location}: column {name!r}, {error}; correct the value or the column's role"
                f"{', or save the file as UTF-8' if 'UTF8' in str(error) else ''}"
            ) from None


def guess_delimiter(location: Location) -> str:
    """The delimiter of a CSV file: the most frequent of `,` `;` tab and `|` in its header."""
    with location.open_stream() as stream:
        header = stream.read(1 << 16).split(b"\n")[0].decode(errors="replace")
    return max(",;\t|", key=header.count)


def open_csv(
    location: Location, names: Sequence[str] = (), *, delimiter: str | None = None
) -> pacsv.CSVStreamingReader:
    """Open a CSV file, to read the columns `names` as bytes; empty values are null.

    Without `names`, all columns are read, with guessed types. A `delimiter` of None is guessed.
    """
    return pacsv.open_csv(
        location.open_stream(),
        # Threads do not speed up reading, and make row numbers unknown.
        read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter or guess_delimiter(location), newlines_in_values=True
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.binary()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
