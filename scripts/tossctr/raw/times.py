"""The times of rows: numbers, dates, timestamps or texts of a column, in the order of time."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError, first_line
from .reading import RawTable
from .text import time_type
from .types import cast_rows, type_name

# Rows of one read: 16 MB of sequences of 500 events.
BATCH_ROWS = 8_192


def read_times(file: RawTable, column: str) -> np.ndarray:
    """What rows are ordered by, [rows]: numbers or, of dates, timestamps and ISO 8601, datetime64.

    Texts are all whole numbers, or all in ISO 8601, with zones or without. Raises UserError if the
    column or a value is missing, or has another type.
    """
    pieces, read_as = [], None
    for first_row, batch in file.stream([column], BATCH_ROWS):
        values = batch.column(0)
        is_missing = values.is_null(nan_is_null=True)
        try:
            if (missing := pc.index(is_missing, True).as_py()) >= 0:
                raise ValueError(f"row {first_row + missing} has no value")
            read_as = read_as or _read_as(values)
            cast = cast_rows(values, read_as, first_row)
            pieces.append(cast.to_numpy(zero_copy_only=False))
        except (ValueError, pa.ArrowException) as error:
            raise UserError(
                f"{file.where(first_row)}: column {column!r}: {first_line(error)}; columns.time "
                f"takes whole numbers such as 20240131, dates, timestamps, or texts such as "
                f"2024-01-31 or 2024-01-31 23:59:00, in every row"
            ) from None
    return np.concatenate(pieces)


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
