"""Rows in memory, each column name to raw value, as a table that is read as raw files are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..common.errors import UserError, first_line
from ..config.columns import Columns
from ..dataset.raw_text import as_text
from ..dataset.raw_values import as_float32, as_seconds, convert_batch
from ..dataset.sequence_parser import parse_sequences, split_text
from ..dataset.table import Header, MemoryTable
from ..raw.reading import CATEGORICAL, NUMERIC, SEQUENCE, TIME, Role, check_type, check_types

Row = Mapping[str, Any]
# Mappings of column names to values, one of them, a pandas DataFrame or an Arrow table.
Rows = Iterable[Row] | Row | Any
_NAME = "the rows"
# What Arrow raises for values that it cannot hold.
_NOT_HELD = (pa.ArrowException, ValueError, TypeError, OverflowError)
# In a list of these types alone, Arrow refuses what a double would round.
_EXACT_TOGETHER = {int, float, np.float64}


class RowTable(MemoryTable):
    """Rows with the columns named, converted as raw files are; others are not looked at.

    A mapping's values have any types that parquet columns of their roles may have, whatever those
    of other rows are; None, NaN and pandas.NA are missing, or an empty history. Raises UserError,
    with the row and the column, for other values, and for a row without one of the columns.
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
        if hasattr(rows, "columns"):
            batch = _from_frame(rows, columns)
            numbers = np.arange(len(batch))
            super().__init__(header, *convert_batch(batch, numbers, columns, _NAME, numbers))
            return
        listed = _listed(rows)
        numbers, others = np.arange(len(listed)), replace(columns, numeric=())
        batch = _from_rows(listed, others)
        block, words = convert_batch(batch, numbers, others, _NAME, numbers)
        # Numeric columns are many, and read as one.
        flat = [value for name in columns.numeric for value in _values(listed, name)]
        numeric = as_float32(_column(flat, NUMERIC, columns.numeric))
        by_row = np.ascontiguousarray(numeric.reshape(len(columns.numeric), len(listed)).T)
        super().__init__(header, replace(block, numeric=by_row), words)


def _from_frame(frame: Any, columns: Columns) -> pa.RecordBatch:
    names = list(columns.features)
    there = [
        *(frame.column_names if isinstance(frame, pa.Table | pa.RecordBatch) else frame.columns)
    ]
    if odd := [name for name in names if there.count(name) != 1]:
        raise UserError(
            f"{_NAME}: columns {', '.join(odd)} are missing or there twice; give {', '.join(names)}"
        )
    try:
        # Not asked of the frame itself, whose columns may have these names.
        chosen = frame.select(names) if hasattr(type(frame), "select") else frame[names]
        if hasattr(type(chosen), "to_arrow"):  # of polars
            chosen = chosen.to_arrow()
        # Columns of pandas that hold Python's objects, whose types may differ.
        mixed = [n for n in names if getattr(chosen[n], "dtype", "") == "object"]
        table = pa.table(chosen.drop(columns=mixed) if mixed else chosen)
    except _NOT_HELD as error:
        told = " ".join(map(str, error.args))[:300]
        raise UserError(
            f"{_NAME}: {told}; give each column values of one type, or the rows as dictionaries"
        ) from None
    roles = _roles(columns)
    arrays = [
        _column(chosen[name].tolist(), roles[name], [name])
        if name in mixed
        else table[name].combine_chunks()
        for name in names
    ]
    batch = pa.RecordBatch.from_arrays(arrays, names)
    check_types(batch.schema, columns, _NAME)
    return batch


def _listed(rows: Any) -> list[Row]:
    """The rows as a list; raises UserError for what is no row."""
    try:
        listed = [rows] if hasattr(rows, "keys") else list(rows)
    except TypeError:
        listed = [rows]
    for i, row in enumerate(listed):
        if not hasattr(row, "keys"):
            raise UserError(
                f"row {i}: is of type {type(row).__name__}; give a mapping of column names to "
                f"values, several of them, or a DataFrame"
            )
    return listed


def _from_rows(rows: list[Row], columns: Columns) -> pa.RecordBatch:
    roles = _roles(columns)
    arrays = [_column(_values(rows, name), role, [name]) for name, role in roles.items()]
    return pa.RecordBatch.from_arrays(arrays, list(roles))


def _roles(columns: Columns) -> dict[str, Role]:
    """The role of each column that is read."""
    times = [columns.row_time] if columns.row_time else []
    named = {
        NUMERIC: columns.numeric,
        CATEGORICAL: columns.categorical,  # as a text, a number is both
        SEQUENCE: columns.ragged,
        TIME: times,
    }
    return {name: role for role, names in named.items() for name in names}


def _values(rows: Sequence[Row], column: str) -> list[Any]:
    try:
        return [row[column] for row in rows]
    except (KeyError, IndexError):
        lacking = next(i for i, row in enumerate(rows) if column not in [*row.keys()])
        raise UserError(
            f"row {lacking}: lacks column {column!r}; give None where a value is missing"
        ) from None


def _column(values: list[Any], role: Role, names: Sequence[str]) -> pa.Array:
    """The values of columns of one role, one column after the other, as one array.

    Values of each Python type are read alone, as in a parquet file that has no others: Arrow rounds
    some when they meet in a list. If there are several types, the array has a common one.
    """
    if role is SEQUENCE:
        values = _as_lists(values, names[0])
    kinds = [*map(_kind if role is SEQUENCE else type, values)]
    groups: list[Sequence[int]] = [range(len(values))]
    if len(distinct := {*kinds} - {type(None)}) > 1 and not distinct <= _EXACT_TOGETHER:
        places: dict[Any, list[int]] = {}
        for place, kind in enumerate(kinds):
            places.setdefault(kind, []).append(place)
        groups = [*places.values()]
    parts = [part for places in groups for part in _arrays(values, places, role, names)]
    if len(parts) == 1:
        return parts[0][1]
    order = np.concatenate([places for places, _ in parts])
    arrays = [_in_common_type(array, role, names[0], np.array(rows)) for rows, array in parts]
    return pa.concat_arrays(arrays).take(pa.array(np.argsort(order)))


def _kind(value: Any) -> Any:
    """The type of a value, and of a list's tokens."""
    return frozenset(map(type, value)) if isinstance(value, list | tuple) else type(value)


def _as_lists(values: list[Any], name: str) -> list[Any]:
    found = []
    for row, value in enumerate(values):
        try:
            found.append(_as_list(value))
        except (TypeError, ValueError) as error:
            raise UserError(
                f"row {row}: column {name!r}: {first_line(error)}; give a list of integers or texts"
            ) from None
    return found


def _as_list(value: Any) -> Any:
    """A sequence whose tokens have one type, or as it is; an empty one is missing."""
    if hasattr(value, "tolist"):  # an array, or a column of a DataFrame
        listed = value.tolist()
        # An empty array has a type, as in a parquet file.
        value = np.asarray(value) if listed == [] else listed
    if isinstance(value, set):
        raise TypeError("a set has no order")
    if not isinstance(value, list | tuple):
        return value
    kinds = set(map(type, value)) - {type(None)}
    if len(kinds) < 2:
        return value or None
    if not all(issubclass(kind, str | int | np.integer) and kind is not bool for kind in kinds):
        raise TypeError(f"a list of {', '.join(sorted(kind.__name__ for kind in kinds))}")
    # Not str(token), which is the name of an enum's member.
    return [token if token is None else _as_token(token) for token in value]


def _as_token(token: Any) -> str:
    return str.__str__(token) if isinstance(token, str) else str(int(token))


def _arrays(
    values: list[Any], places: Sequence[int], role: Role, names: Sequence[str]
) -> list[tuple[Sequence[int], pa.Array]]:
    """Some of the values as one array, or each as one of its own if no type holds all."""
    column, row = divmod(places[0], len(values) // len(names)) if places else (0, 0)
    where = f"row {row}: column {names[column]!r}"
    try:
        some = values if len(places) == len(values) else [values[place] for place in places]
        array = _array(some)
        if places:
            check_type(array.type, role, where)
        return [(places, array)]
    except (UserError, *_NOT_HELD) as error:
        if len(places) > 1:
            return [part for place in places for part in _arrays(values, [place], role, names)]
        if isinstance(error, UserError):
            raise
        raise UserError(f"{where}: {first_line(error)}; it cannot be {role[0]}") from None


def _array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, from_pandas=True)
    except OverflowError:  # Arrow takes Python's integers for int64
        is_list = isinstance(values[0], list | tuple)
        return pa.array(values, pa.list_(pa.uint64()) if is_list else pa.uint64(), from_pandas=True)


def _in_common_type(array: pa.Array, role: Role, name: str, rows: np.ndarray) -> pa.Array:
    """What is read of an array as one of the type that all values of a role can have."""
    if role is NUMERIC:
        return pa.array(as_float32(array))
    if role is CATEGORICAL:
        return as_text(array)
    if role is TIME:
        return pa.array(as_seconds(array, name, _NAME, rows))
    if pa.types.is_string(array.type):
        parse_sequences(array, name, _NAME, rows, np.arange(len(rows)))  # refuses bad tokens
        array = split_text(array)
    return array.cast(pa.list_(pa.string()))
