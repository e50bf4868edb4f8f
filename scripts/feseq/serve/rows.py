"""Rows in memory, mappings of column names to raw values, as a table read like raw files."""

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
from ..raw.types import check_types, decoded
from ..storage.raw_values import as_float32, convert_batch
from ..storage.table import Header, MemoryTable

Row = Mapping[str, Any]
# Mappings of column names to values, a single mapping, a pandas DataFrame or an Arrow table.
Rows = Iterable[Row] | Row | Any
_NAME = "the rows"
# What Arrow raises for values that it cannot hold.
_ARROW_ERRORS = (pa.ArrowException, ValueError, TypeError, OverflowError)
# In a list, Arrow converts NumPy's booleans to 1 and 0, and bytes after a text to text. It crashes
# on deeply nested lists.
_NO_EVENTS = {np.bool_, bytes, set, frozenset, dict, list, tuple, np.ndarray}
_CURE = "give all values of a column one type, or None"


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
        if hasattr(rows, "columns") and getattr(rows, "ndim", 2) == 2:  # no Series of that name
            arrays = _from_frame(rows, columns)
        else:
            listed = _listed(rows, columns)
            numeric = _numbers(listed, columns.numeric)
            columns = columns if numeric is None else replace(columns, numeric=())
            arrays = {
                name: _column([row[name] for row in listed], name) for name in columns.features
            }
        batch = pa.RecordBatch.from_arrays([*arrays.values()], [*arrays])
        if len(batch):
            check_types(batch.schema, columns, _NAME)
        number = np.arange(len(batch))
        block, words = convert_batch(batch, number, columns, _NAME, number)
        if numeric is not None:
            block = replace(block, numeric=numeric)
        super().__init__(header, block, words)


def _from_frame(frame: Any, columns: Columns) -> dict[str, pa.Array]:
    """The columns of a pandas DataFrame or an Arrow table; raises UserError if one is not there."""
    names = list(columns.features)
    try:
        chosen = (
            frame.select(names) if isinstance(frame, pa.Table | pa.RecordBatch) else frame[names]
        )
        # Columns of pandas with Python objects, whose types may differ.
        mixed = [n for n in names if getattr(chosen[n], "dtype", "") == "object"]
        table = pa.table(chosen[[n for n in names if n not in mixed]] if mixed else chosen)
        return {
            name: _column(chosen[name].tolist(), name)
            if name in mixed
            else decoded(table[name].combine_chunks())
            for name in names
        }
    except (KeyError, AttributeError, *_ARROW_ERRORS) as error:
        raise UserError(
            f"{_NAME}: must be a table with each of the columns {', '.join(names)} once "
            f"({first_line(error)[:300]})"
        ) from None


def _listed(rows: Rows, columns: Columns) -> list[Row]:
    """The mappings; raises UserError for what is none, or lacks a column."""
    # An error in the caller's generator is not caught.
    are_many = isinstance(rows, Iterable) and not _is_mapping(rows)
    listed: list[Any] = [*rows] if are_many else [rows]
    for i, row in enumerate(listed):
        if not _is_mapping(row):
            raise UserError(
                f"row {i}: is of type {type(row).__name__}; give one or several mappings of column "
                f"names to values, or a DataFrame"
            )
        if lacking := {*columns.features}.difference(row.keys()):
            raise UserError(
                f"row {i}: lacks column {min(lacking)!r}; give None where a value is missing"
            )
    return listed


def _is_mapping(row: Any) -> bool:
    # A GroupBy of pandas has `keys` that are no method.
    return callable(getattr(type(row), "keys", None))


def _numbers(rows: list[Row], names: Sequence[str]) -> np.ndarray | None:
    """Numeric columns at once, float32 [rows, columns]; None if each must be read alone."""
    values = [row[name] for row in rows for name in names]
    if {*map(type, values)} <= {int, float, type(None)}:
        with suppress(*_ARROW_ERRORS):
            numbers = as_float32(pa.array(values, from_pandas=True))
            return numbers.reshape(len(rows), len(names))
    return None


def _column(values: Sequence[Any], name: str) -> pa.Array:
    """A column as in a parquet file; raises UserError for values of several types.

    Arrow would round some of these in a list.
    """
    try:
        values = [_plain(value) for value in values]
        types = set(map(type, values)) - {type(None)}
        if len(types) > 1 or any(hasattr(type_, "tzinfo") for type_ in types):
            _check_one_type(values, name)
        lists = [value for value in values if isinstance(value, list | tuple)]
        wrong = types & {set, frozenset, dict} or _NO_EVENTS.intersection(map(type, chain(*lists)))
        if wrong:
            raise TypeError(f"a value of type {min(type_.__name__ for type_ in wrong)}")
        try:
            return pa.array(values, from_pandas=True)
        except OverflowError:  # Arrow takes Python's integers for int64
            large = pa.list_(pa.uint64()) if lists else pa.uint64()
            return pa.array(values, large, from_pandas=True)
    except _ARROW_ERRORS as error:
        raise UserError(f"{_NAME}: column {name!r}: {first_line(error)[:300]}; {_CURE}") from None


def _plain(value: Any) -> Any:
    """A value as Python has it: arrays as lists, NumPy's times as datetime, missing values as None.

    Raises ValueError or OverflowError for times in years that Python does not have.
    """
    if _is_missing(value):
        return None
    if isinstance(value, np.datetime64):
        year = int(value.astype("M8[Y]").astype(np.int64)) + 1970
        if not 1 <= year <= 9999:
            raise ValueError(f"year {year} is not from 1 to 9999")
        return value.astype("M8[s]").item()
    # Arrays and pandas columns become lists; empty ones stay, since they have a type.
    return value.tolist() if getattr(value, "ndim", 0) == 1 and len(value) else value


def _is_missing(value: Any) -> bool:
    """True for NaN, NaT and pandas' missing values."""
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, float | np.floating | np.datetime64):
        return bool(value != value)
    # By name, since a service need not have pandas.
    return type(value).__name__ in ("NAType", "NaTType")


def _check_one_type(values: Sequence[Any], name: str) -> None:
    """Raise UserError for a value of another type than those before it."""
    first = ""
    for row, value in enumerate(values):
        type_ = first if value is None else _type_name(value)
        first = first or type_
        if type_ != first:
            raise UserError(
                f"row {row}: column {name!r} holds a {type_}, and the rows before it a {first}; "
                f"{_CURE}"
            )


def _type_name(value: Any) -> str:
    """A type for messages; values that Arrow converts together exactly, or refuses, share it."""
    # Not np.uint64, whose large values Arrow wraps around in a list of numbers.
    if isinstance(value, int | float | np.signedinteger) and not isinstance(value, bool):
        return "number"
    if isinstance(value, list | tuple | np.ndarray):
        return "list"
    if isinstance(value, str):
        return "text"
    zone = "" if getattr(value, "tzinfo", None) is None else " with a zone"
    return f"{type(value).__name__}{zone}"
