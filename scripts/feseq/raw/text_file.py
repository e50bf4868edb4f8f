"""CSV and TSV files: a header, then a row a line; a quoted value may hold line breaks.

The files have no types. A column in use is read as its role wants it: numeric columns as float64, a
row's time as integers or timestamps, all others as text. An empty value is missing.
"""

import csv
import io
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ..common.errors import UserError
from ..config.columns import Columns
from .file import Contents, File, Reading
from .location import Location
from .text import MEANS_MISSING, time_type, truth_as_digits, whole_numbers
from .version import remembered_rows

logger = logging.getLogger(__name__)

# Bytes that are parsed at once; no line may be longer.
_BLOCK_BYTES = 1 << 23
_NO_NUMBER = pa.array(["", *MEANS_MISSING])
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Characters of a value or line in a message.
_MOST_SHOWN = 60
# How Arrow tells of a row with too few or too many values.
_WRONG_ROW = re.compile(
    r"Row #(?P<row>\d+): Expected (?P<wanted>\d+) columns, got (?P<got>\d+): (?P<text>.*)",
    re.DOTALL,
)
_TIME_WANTED = {False: "a whole number", True: "a time such as 2024-01-31 23:59:00"}


def contents(location: Location, version: str, how: Reading) -> Contents:
    """The columns with their types; the rows are counted once for each version of the file."""
    delimiter = _delimiter(location, how.delimiter)
    records = list(islice(_records(location, delimiter), 2))
    if not records:
        raise UserError(f"{location}: is empty; its first line should name its columns")
    header, *first = [record for _, record in records]
    if bad := [name for name in header if re.search("[\ud800-\udfff]", name)]:
        raise UserError(f"{location}: line 1 is not UTF-8, {bad[0]!a}; write it in this encoding")
    times = Counter(header)
    names = [name for name in header if times[name] == 1]
    row = dict(zip(header, first[0])) if first else {}
    schema = pa.schema([(name, _type(name, row, how.columns)) for name in names])
    rows = [how.rows] if how.rows is not None else [0]
    if how.rows is None and first:
        key = f"text {delimiter}"
        rows = remembered_rows(version, key, lambda: _count(location, version, delimiter, header))
    with location.open() as source:
        size = source.size()
    return Contents(size, schema, rows, is_one_part=True, repeated=frozenset(times) - {*names})


def batches(file: File, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """All rows of a file; raises UserError for a value that is not of its column's type."""
    if file.start == file.stop:
        return
    delimiter = _delimiter(file.location, file.delimiter)
    # Without a column, a batch would not tell its rows.
    read, row = names or file.schema.names[:1], 0
    for block in _blocks(file.location, delimiter, read):
        for start in range(0, len(block), rows):
            batch = block.slice(start, rows)
            typed = [_typed(batch, name, file, row, delimiter) for name in read]
            yield pa.RecordBatch.from_arrays(typed, list(read))
            row += len(batch)


def _delimiter(location: Location, delimiter: str | None) -> str:
    is_tsv = re.search(r"\.tsv(\.gz)?$", location.name, re.IGNORECASE)
    return delimiter or ("\t" if is_tsv else ",")


def _type(name: str, row: dict[str, str], columns: Columns | None) -> pa.DataType:
    """The type of a column by its role; `row` is the first one, {} if there is none."""
    if columns is None or name not in (*columns.numeric, columns.row_time):
        return pa.string()
    if name in columns.numeric:
        return pa.float64()
    # A first row without a time is refused later on.
    return time_type(row.get(name, "").strip() or "0") if row else pa.null()


def _records(
    location: Location, delimiter: str, *, is_strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record begins, and its values.

    Python's reader knows the lines and is slow: for the first records, and for messages. If it is
    strict, it raises UserError for quotes that do not go together.
    """
    line = 1
    csv.field_size_limit(sys.maxsize)  # of the process, so not set back: others may be reading
    try:
        with location.open_text() as stream:
            start = stream.read(3)
        if start[:2] in _UTF16:
            raise UserError(f"{location}: is UTF-16; write it as UTF-8")
        with (
            location.open_text() as stream,
            io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="") as text,
        ):
            reader = csv.reader(text, delimiter=delimiter, strict=is_strict)
            for record in reader:
                if record:
                    yield line, record
                line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{location}: line {line}: a double quote is not closed, or stands within a quoted "
            f"value ({error}); close it, or write it twice there"
        ) from None


def _line(location: Location, delimiter: str, record: int) -> int:
    """The line on which a record begins; the header is record 0."""
    return next(islice(_records(location, delimiter), record, None))[0]


def _blocks(location: Location, delimiter: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The named columns as bytes, null where empty; raises UserError for a line with too few."""
    rows = 0
    try:
        with location.open_text() as stream:
            for block in pacsv.open_csv(
                stream,
                # Threads make it no faster, and with them no row knows its number.
                read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
                parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(names),
                    column_types=dict.fromkeys(names, pa.binary()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            ):
                yield block
                rows += len(block)
    except pa.ArrowInvalid as error:
        if "straddl" in str(error):
            raise UserError(
                f"{location}: behind line {_line(location, delimiter, rows)}, a line is longer "
                f"than {_BLOCK_BYTES:,} bytes; is a double quote opened there and not closed?"
            ) from None
        wrong = _WRONG_ROW.search(str(error))
        if not wrong:
            raise
        line = _line(location, delimiter, int(wrong["row"]) - 1)
        raise UserError(
            f"{location}: line {line} has {wrong['got']} values, and the header names "
            f"{wrong['wanted']} columns, separated by {delimiter!r}: "
            f"{wrong['text'][:_MOST_SHOWN]!r}; correct the line (a value with {delimiter!r} in it "
            f"stands in double quotes), or set raw.delimiter"
        ) from None


def _count(location: Location, version: str, delimiter: str, header: Sequence[str]) -> list[int]:
    """The number of rows; raises UserError if a quote is open at the end, and may hold rows."""
    logger.info("%s: counting its rows", location)
    rows, last = 0, None
    with location.reading(version):
        for block in _blocks(location, delimiter, [*dict.fromkeys((header[0], header[-1]))]):
            rows += len(block)
            last = block.column(header[-1])[-1].as_py() if len(block) else last
        if b"\n" in (last or b""):
            for _ in _records(location, delimiter, is_strict=True):
                pass
    return [rows]


def _typed(
    batch: pa.RecordBatch, name: str, file: File, first_row: int, delimiter: str
) -> pa.Array:
    """A column of bytes in its type; raises UserError with the line of a value that is not."""
    column, wanted = batch.column(name), file.schema.field(name).type
    try:
        return _cast(column, wanted)
    except pa.ArrowException:
        bad = next(i for i in range(len(column)) if not _can_be(column.slice(i, 1), wanted))
    value = column[bad].as_py().decode(errors="backslashreplace")[:_MOST_SHOWN]
    line = _line(file.location, delimiter, first_row + bad + 1)
    what = "a number, which columns.groups says it is"
    if pa.types.is_string(wanted):
        what = "text in UTF-8: write the file in this encoding"
    elif wanted != pa.float64():
        what = f"{_TIME_WANTED[pa.types.is_timestamp(wanted)]}, as in the first row"
    raise UserError(f"{file.location}: line {line}, column {name!r}: {value!r} is not {what}")


def _cast(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    text = column.cast(pa.string())
    if pa.types.is_string(wanted):
        return whole_numbers(text)
    with suppress(pa.ArrowException):
        return text.cast(wanted)
    text = truth_as_digits(text)
    is_missing = pc.is_in(text, value_set=_NO_NUMBER)
    return pc.if_else(is_missing, pa.scalar(None, pa.string()), text).cast(wanted)


def _can_be(value: pa.Array, wanted: pa.DataType) -> bool:
    try:
        _cast(value, wanted)
    except pa.ArrowException:
        return False
    return True
