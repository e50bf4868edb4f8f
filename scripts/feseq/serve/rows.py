"""Rows in memory, each column name to raw value, as a table that is read as raw files are."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..common.errors import UserError, first_line
from ..config.columns import Columns
from ..raw.reading import check_types, decoded
from ..storage.raw_values import as_float32, convert_batch
from ..storage.table import Header, MemoryTable

Row = Mapping[str, Any]
# Mappings of column names to values, one of them, a pandas DataFrame or an Arrow table.
Rows = Iterable[Row] | Row | Any
_NAME = "the rows"
# What Arrow raises for values that it cannot hold.
_NOT_HELD = (pa.ArrowException, ValueError, TypeError, OverflowError)
# In a list, Arrow takes NumPy's booleans for 1 and 0, and bytes behind a text for text. It crashes
# for lists that are deep enough.
_NO_EVENTS = {np.bool_, bytes, set, frozenset, dict, list, tuple, np.ndarray}
_CURE = "give the values of a column one type, or None"


class RowTable(MemoryTable):
    """Rows with the columns named, converted as raw files are; others are not looked at.

    The values of a column have one type, as in a parquet file; None, NaN and pandas.NA are missing,
    or an empty history. Raises UserError, with the column, for other values, and for a row without
    one of the columns.
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
        if hasattr(rows, "columns") and getattr(rows, "ndim", 2) == 2:  # no Series of that name
            table, numeric = _from_frame(rows, columns), None
        else:
            listed = _listed(rows, columns)
            numeric = _numbers([row[name] for name in columns.numeric for row in listed])
            columns = columns if numeric is None else replace(columns, numeric=())
            read = {name: [row[name] for row in listed] for name in columns.features}
            table = {name: _column(values, name) for name, values in read.items()}
        batch = pa.RecordBatch.from_arrays([*table.values()], [*table])
        if len(batch):
            check_types(batch.schema, columns, _NAME)
        numbers = np.arange(len(batch))
        block, words = convert_batch(batch, numbers, columns, _NAME, numbers)
        if numeric is not None:
            by_row = numeric.reshape(len(header.numeric_columns), len(batch)).T
            block = replace(block, numeric=np.ascontiguousarray(by_row))
        super().__init__(header, block, words)


def _from_frame(frame: Any, columns: Columns) -> dict[str, pa.Array]:
    names = list(columns.features)
    try:
        chosen = (
            frame.select(names) if isinstance(frame, pa.Table | pa.RecordBatch) else frame[names]
        )
        # Columns of pandas that hold Python's objects, whose types may differ.
        mixed = [n for n in names if getattr(chosen[n], "dtype", "") == "object"]
        table = pa.table(chosen[[n for n in names if n not in mixed]] if mixed else chosen)
        return {
            name: _column(chosen[name].tolist(), name)
            if name in mixed
            else decoded(table[name].combine_chunks())
            for name in names
        }
    except (KeyError, AttributeError, *_NOT_HELD) as error:
        raise UserError(
            f"{_NAME}: are no table with each of the columns {', '.join(names)} once "
            f"({first_line(error)[:300]})"
        ) from None


def _listed(rows: Rows, columns: Columns) -> list[Row]:
    # An error within a generator is its author's.
    are_many = isinstance(rows, Iterable) and not hasattr(rows, "keys")
    listed: list[Any] = [*rows] if are_many else [rows]
    for i, row in enumerate(listed):
        if not hasattr(row, "keys"):
            raise UserError(
                f"row {i}: is of type {type(row).__name__}; give a mapping of column names to "
                f"values, several of them, or a DataFrame"
            )
        if lacking := {*columns.features}.difference(row.keys()):
            raise UserError(
                f"row {i}: lacks column {min(lacking)!r}; give None where a value is missing"
            )
    return listed


def _numbers(values: list[Any]) -> np.ndarray | None:
    """Numeric columns, which are many, read as one; None where each must be read alone."""
    if {*map(type, values)} <= {int, float, type(None)}:
        with suppress(*_NOT_HELD):
            return as_float32(pa.array(values, from_pandas=True))
    return None


def _column(values: Sequence[Any], name: str) -> pa.Array:
    """A column as a parquet file would have it; raises UserError for values of several types.

    Arrow rounds some when they meet in a list.
    """
    try:
        values = [_plain(value) for value in values]
        types = set(map(type, values)) - {type(None)}
        if len(types) > 1 or any(hasattr(kind, "tzinfo") for kind in types):
            _check_one_kind(values, name)
        lists = [value for value in values if isinstance(value, list | tuple)]
        wrong = types & {set, frozenset, dict} or _NO_EVENTS.intersection(map(type, chain(*lists)))
        if wrong:
            raise TypeError(f"a value of type {min(kind.__name__ for kind in wrong)}")
        try:
            return pa.array(values, from_pandas=True)
        except OverflowError:  # Arrow takes Python's integers for int64
            kind = pa.list_(pa.uint64()) if lists else pa.uint64()
            return pa.array(values, kind, from_pandas=True)
    except _NOT_HELD as error:
        raise UserError(f"{_NAME}: column {name!r}: {first_line(error)[:300]}; {_CURE}") from None


def _plain(value: Any) -> Any:
    """A value as Python's: lists of arrays, a datetime of NumPy's, None for what is missing.

    Raises ValueError or OverflowError for times of years that Python's do not have.
    """
    # Those of pandas, which a service need not have.
    of_pandas = type(value).__name__ in ("NAType", "NaTType")
    if of_pandas or (isinstance(value, float | np.floating) and value != value):
        return None
    if isinstance(value, Decimal) and value.is_nan():
        return None
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        year = int(value.astype("M8[Y]").astype(np.int64)) + 1970
        if not 1 <= year <= 9999:
            raise ValueError(f"year {year} is none from 1 to 9999")
        return value.astype("M8[s]").item()
    # Arrays and columns of pandas, but for empty ones, which have a type.
    return value.tolist() if getattr(value, "ndim", 0) == 1 and len(value) else value


def _check_one_kind(values: Sequence[Any], name: str) -> None:
    """Raise UserError for a value of another kind than those before it."""
    kinds = {i: _kind(value) for i, value in enumerate(values) if value is not None}
    first = next(iter(kinds.values()), "")
    for row, kind in kinds.items():
        if kind != first:
            raise UserError(
                f"row {row}: column {name!r} holds a {kind}, and the rows before it a {first}; "
                f"{_CURE}"
            )


def _kind(value: Any) -> str:
    """Equal for values that Arrow converts to a common type exactly, or refuses."""
    # Arrow wraps large uint64 beside others.
    if isinstance(value, int | float | np.signedinteger) and not isinstance(value, bool):
        return "number"
    if isinstance(value, list | tuple | np.ndarray):
        return "list"
    if isinstance(value, str):
        return "text"
    zone = "" if getattr(value, "tzinfo", None) is None else " with a zone"
    return f"{type(value).__name__}{zone}"
