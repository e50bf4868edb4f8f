"""Rows in memory, mappings of column names to raw values, as a table read like raw files."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..common.errors import UserError, first_line
from ..config.columns import Columns
from ..raw.types import check_types, decoded
from ..storage.raw_values import as_float32, convert_batch
from ..storage.table import Header, MemoryTable

Row = Mapping[str, Any]
# Mappings of column names to values, a single mapping, a pandas DataFrame or an Arrow table.
Rows = Iterable[Row] | Row | Any
_NAME = "the rows"
# What Arrow raises for values that it cannot hold.
_ARROW_ERRORS = (pa.ArrowException, ValueError, TypeError, OverflowError)


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
        numeric = None
        if hasattr(rows, "columns"):
            arrays = _of_table(rows, [*columns.features])
        else:
            listed = _listed(rows, columns)
            numeric = _numbers(listed, columns.numeric)
            columns = columns if numeric is None else replace(columns, numeric=())
            arrays = _of_rows(listed, columns.features)
        batch = pa.RecordBatch.from_arrays([*arrays.values()], [*arrays])
        if len(batch):
            check_types(batch.schema, columns, _NAME)
        number = np.arange(len(batch))
        block, words = convert_batch(batch, number, columns, _NAME, number)
        if numeric is not None:
            block = replace(block, numeric=numeric)
        super().__init__(header, block, words)


def _of_table(table: Any, names: Sequence[str]) -> dict[str, pa.Array]:
    """Columns of a pandas DataFrame or an Arrow table; raises UserError if one is not there."""
    try:
        is_arrow = isinstance(table, pa.Table | pa.RecordBatch)
        chosen = pa.table(table.select(names) if is_arrow else table[names])
        return {name: decoded(chosen[name].combine_chunks()) for name in names}
    except (KeyError, AttributeError, *_ARROW_ERRORS) as error:
        raise UserError(
            f"{_NAME}: must be a table with each of the columns {', '.join(names)} once "
            f"({first_line(error)[:300]})"
        ) from None


def _of_rows(rows: Sequence[Row], names: Sequence[str]) -> dict[str, pa.Array]:
    """Columns of mappings; raises UserError for values that Arrow does not take together."""
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([row[name] for row in rows], from_pandas=True)
        except _ARROW_ERRORS as error:
            raise UserError(f"{_NAME}: column {name!r}: {first_line(error)[:300]}") from None
    return columns


def _listed(rows: Rows, columns: Columns) -> list[Row]:
    """The mappings; raises UserError for what is none, or lacks a column."""
    listed: list[Any] = [rows] if hasattr(rows, "keys") else [*rows]
    for i, row in enumerate(listed):
        if not hasattr(row, "keys"):
            raise UserError(
                f"row {i}: is of type {type(row).__name__}; give one or several mappings of column "
                f"names to values, or a DataFrame"
            )
        if lacking := {*columns.features}.difference(row.keys()):
            raise UserError(
                f"row {i}: lacks column {min(lacking)!r}; give None where a value is missing"
            )
    return listed


def _numbers(rows: list[Row], names: Sequence[str]) -> np.ndarray | None:
    """Numeric columns at once, float32 [rows, columns]; None if each must be read alone."""
    values = [row[name] for row in rows for name in names]
    if {*map(type, values)} <= {int, float, type(None)}:
        with suppress(*_ARROW_ERRORS):
            numbers = as_float32(pa.array(values, from_pandas=True))
            return numbers.reshape(len(rows), len(names))
    return None
