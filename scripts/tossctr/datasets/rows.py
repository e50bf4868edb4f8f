"""Rows in memory as a table, such as those that a service scores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..config.columns import Columns
from ..raw.values import check_types, decoded
from .raw_values import convert_batch
from .table import Header, MemoryTable

# Mappings of column names to values, a single mapping, a pandas DataFrame or an Arrow table.
Rows = Iterable[Mapping[str, Any]] | Mapping[str, Any] | Any
_NAME = "the rows"


def row_table(rows: Rows, columns: Columns, simulated: bool) -> MemoryTable:
    """Rows with the given columns, converted like raw files; other columns are ignored.

    The values of a column have one type, as in a parquet file. None, NaN and pandas.NA are missing
    values, or empty histories. Raises UserError, which names the column, for other values, and if a
    row lacks a column.
    """
    header = Header(
        Path(_NAME),
        columns.numeric,
        columns.categorical,
        columns.ragged,
        {"simulated": simulated},
        columns.row_time is not None,
    )
    batch = _as_batch(rows, columns.features)
    if len(batch):
        check_types(batch.schema, columns, _NAME)
    return MemoryTable(header, *convert_batch(batch, np.arange(len(batch)), columns, _NAME))


def _as_batch(rows: Any, names: Sequence[str]) -> pa.RecordBatch:
    """These columns of the rows; raises UserError if one is missing, or has several types."""
    is_table = hasattr(rows, "columns")
    if not is_table:
        rows = [rows] if hasattr(rows, "keys") else [*rows]
    arrays = []
    for name in names:
        try:
            values = rows[name] if is_table else [row[name] for row in rows]
            if not isinstance(values, pa.Array | pa.ChunkedArray):
                values = pa.array(values, from_pandas=True)
            if isinstance(values, pa.ChunkedArray):
                values = values.combine_chunks()
            arrays.append(decoded(values))
        except (LookupError, TypeError, ValueError, OverflowError, pa.ArrowException) as error:
            raise UserError(
                f"{_NAME}: column {name!r} cannot be read ({error!r:.300}); each row needs a "
                f"value, or None, and all values must have one type"
            ) from None
    return pa.RecordBatch.from_arrays(arrays, [*names])
