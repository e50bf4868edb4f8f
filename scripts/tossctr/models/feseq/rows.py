"""Rows in memory, mappings of column names to raw values, as a table read like raw files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...common.errors import UserError
from ...config.columns import Columns
from ...datasets.raw_values import convert_batch
from ...datasets.table import Header, MemoryTable
from ...raw.values import check_types, decoded

# Mappings of column names to values, a single mapping, a pandas DataFrame or an Arrow table.
Rows = Iterable[Mapping[str, Any]] | Mapping[str, Any] | Any
_NAME = "the rows"


class RowTable(MemoryTable):
    """Rows with the given columns, converted like raw files; other columns are ignored.

    The values of a column have one type, as in a parquet file. None, NaN and pandas.NA are missing
    values, or empty histories. Raises UserError, with the column, for other values, and for a row
    without one of the columns.
    """

    def __init__(self, rows: Rows, columns: Columns, simulated: bool) -> None:
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
        number = np.arange(len(batch))
        super().__init__(header, *convert_batch(batch, number, columns, _NAME))


def _as_batch(rows: Any, names: Sequence[str]) -> pa.RecordBatch:
    """These columns of the rows; raises UserError for one that is missing, or of several types."""
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
                f"{_NAME}: column {name!r} cannot be read ({error!r:.300}); each row needs a value "
                f"of one type, or None where it is missing"
            ) from None
    return pa.RecordBatch.from_arrays(arrays, [*names])
