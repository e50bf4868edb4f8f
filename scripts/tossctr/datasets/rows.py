"""Rows in memory as a table, for example the rows that a service scores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..common.errors import UserError, row_name
from ..config.columns import Columns
from ..raw.values import check_types, decode
from .raw_values import convert_batch
from .table import Header, MemoryTable

# One or more mappings from column names to values, a pandas DataFrame or an Arrow table.
Rows = Iterable[Mapping[str, Any]] | Mapping[str, Any] | Any
_NAME = "the rows"


def row_table(rows: Rows, columns: Columns, simulated: bool) -> MemoryTable:
    """Convert rows in memory to a table, by the same rules as raw files.

    `columns` names the columns to read. Each must have one type, as in parquet. None, NaN and
    pandas.NA are missing values or empty histories. `simulated` says if the rows are simulated.
    Raises UserError with the column's name for an invalid value or a missing column.
    """
    header = Header(
        Path(_NAME),
        columns.numeric,
        columns.categorical,
        columns.sequence_columns,
        {"simulated": simulated},
        columns.row_time is not None,
    )
    batch = _as_batch(rows, columns.features)
    if len(batch):
        check_types(batch.schema, columns, _NAME)
    return MemoryTable(header, *convert_batch(batch, np.arange(len(batch)), columns, _NAME))


def _as_batch(rows: Any, names: Sequence[str]) -> pa.RecordBatch:
    """The columns `names`; raises UserError if a column is missing or has several types."""
    is_table = hasattr(rows, "columns")
    if not is_table:
        rows = [rows] if hasattr(rows, "keys") else [*rows]
    arrays = []
    for name in names:
        if not is_table and (lacking := [i for i, row in enumerate(rows) if name not in row]):
            raise UserError(
                f"{_NAME}: column {name!r} is missing in {row_name(lacking[0])}; give each row a "
                f"value or None"
            )
        try:
            values = rows[name] if is_table else [row[name] for row in rows]
            if not isinstance(values, pa.Array | pa.ChunkedArray):
                values = pa.array(values, from_pandas=True)
            if isinstance(values, pa.ChunkedArray):
                values = values.combine_chunks()
            arrays.append(decode(values))
        except LookupError:
            raise UserError(f"{_NAME}: column {name!r} is missing; add it") from None
        except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
            raise UserError(
                f"{_NAME}: column {name!r} cannot be read ({error!r:.300}); give each "
                f"row a value or None, and all values one type"
            ) from None
    return pa.RecordBatch.from_arrays(arrays, [*names])
