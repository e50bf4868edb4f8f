"""The times of rows: numbers, dates, timestamps or texts of a column, in the order of time."""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pyarrow as pa

from ..common.errors import UserError, first_line
from .reading import RawTable
from .text import time_type
from .types import type_name

# The key that names the column of the rows' times, beside columns.time.
ROW_TIME = "the row's time in columns.groups"
# The share of all times; a few may be placeholders for a missing time, such as 0.
_NEARLY_ALL = 0.9
# Times in one unit that are _LARGE have no gap in which they grow _JUMP times; seconds beside
# milliseconds have one, and days beside hours (20240131 and 2024013123).
_LARGE, _JUMP = 10_000_000, 50
# Dividing by one of these drops the clock behind a day: none, HH, HHMM, HHMMSS, HHMMSSmmm.
_CLOCKS = (1, 10**2, 10**4, 10**6, 10**9)
# Rows of one read: 16 MB of sequences of 500 events.
_BATCH_ROWS = 8_192


def read_times(file: RawTable, column: str, key: str = "columns.time") -> np.ndarray:
    """What rows are ordered by, [rows]: numbers or, of dates, timestamps and ISO 8601, datetime64.

    Texts are all whole numbers, or all in ISO 8601, with zones or without. The `key` of the config
    names the column. Raises UserError if the column or a value is missing or has another type, or
    numbers are not in the order of time.
    """
    pieces, read_as = [], None
    for first_row, values in column_values(file, column, key):
        is_missing = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
        if is_missing.any():
            raise UserError(
                f"{file.where(first_row)}: column {column!r} is missing in {is_missing.sum():,} of "
                f"the rows {first_row:,} to {first_row + len(values) - 1:,}, first row "
                f"{first_row + is_missing.argmax()}; {key} needs the time of every row: fill "
                f"the column, or name another one"
            )
        try:
            read_as = read_as or _read_as(values)
            cast = cast_rows(values, read_as, first_row)
            pieces.append(cast.to_numpy(zero_copy_only=False))
        except (ValueError, pa.ArrowException) as error:
            raise _no_times(file, column, key, first_line(error)) from None
    times = np.concatenate(pieces)
    if times.dtype.kind != "M" and (why := _not_in_order(times)):
        raise _no_times(file, column, key, why)
    return times


def _read_as(values: pa.Array) -> pa.DataType:
    """The type in which values of a column have the order of time."""
    arrow_type = values.type
    if type_name(arrow_type) == "text":
        return time_type(values[0].as_py())
    if pa.types.is_floating(arrow_type):
        return pa.float64()
    if pa.types.is_decimal(arrow_type):
        return pa.int64()
    types = pa.types
    if types.is_integer(arrow_type) or types.is_timestamp(arrow_type) or types.is_date(arrow_type):
        return arrow_type
    raise pa.ArrowTypeError(f"type {arrow_type} has no order in time")


def cast_rows(values: pa.Array, arrow_type: pa.DataType, first_row: int) -> pa.Array:
    """The values as another type; raises ValueError for the first that cannot be, with its row."""

    def fault(some: pa.Array) -> str:
        try:
            some.cast(arrow_type)
        except pa.ArrowException as error:
            return first_line(error)
        return ""

    with suppress(pa.ArrowException):
        return values.cast(arrow_type)
    rows = range(len(values))
    bad = bisect_left(rows, True, key=lambda i: bool(fault(values.slice(0, i + 1))))
    raise ValueError(f"row {first_row + bad}: {fault(values.slice(bad, 1))}")


def _no_times(file: RawTable, column: str, key: str, why: str) -> UserError:
    return UserError(
        f"{file.location}: column {column!r}: {why}; {key} takes whole numbers such as 20240131, "
        f"dates, timestamps, or texts such as 2024-01-31 or 2024-01-31 23:59:00 in every row"
    )


def _not_in_order(times: np.ndarray) -> str:
    """Why the order of the numbers is not that of time, or ''.

    They may be infinite, have the year last, alone or with hours to milliseconds behind it, or be
    of two units.
    """
    if np.isinf(times).any():
        return f"row {np.isinf(times).argmax()} is infinite"
    if any(_is_year_last(times.astype(np.float64) // clock) for clock in _CLOCKS):
        return f"the year is last, as in {times[0]}"
    ordered = np.sort(times)
    is_far = (ordered[:-1] >= _LARGE) & (ordered[1:] // _JUMP >= ordered[:-1])
    if not is_far.any():
        return ""
    before, after = ordered[is_far.argmax() :][:2]
    return f"{before} and {after}, the next, are of two units"


def _is_year_last(times: np.ndarray) -> bool:
    """True if nearly all are days or months before their year: 31012024, 12312024, 12024."""
    front, year = np.divmod(times, 10_000)
    first, second = np.divmod(front, 100)
    is_date = (year >= 1900) & (year < 2200) & (second >= 1) & (second <= 31) & (first <= 31)
    # With one day or month, years are in order.
    return bool(is_date.mean() > _NEARLY_ALL and np.ptp(front[is_date]) > 0)


def column_values(file: RawTable, column: str, key: str) -> Iterator[tuple[int, pa.Array]]:
    """The column, some rows at a time."""
    require_column(file, column, key)
    for first_row, batch in file.stream([column], _BATCH_ROWS):
        yield first_row, batch.column(0)


def require_column(file: RawTable, column: str, key: str) -> None:
    """Raise UserError if a table lacks the column that a key of the config names."""
    file.require_usable([column])
    if column not in file.schema_arrow.names:
        raise UserError(
            f"{file.location}: there is no column {column!r}, which {key} names; the file has "
            f"{', '.join(map(repr, file.schema_arrow.names[:8]))}, ..."
        )
