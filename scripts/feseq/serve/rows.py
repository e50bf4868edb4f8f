"""Rows as dictionaries, column name to raw value, as a table in memory."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..config.columns import Columns
from ..dataset.raw_text import value_as_text
from ..dataset.raw_values import convert_batch
from ..dataset.sequence_parser import NO_TEXT
from ..dataset.table import Header, MemoryTable

Row = Mapping[str, Any]
_NAME = "the rows"


class RowTable(MemoryTable):
    """Rows with the columns named, converted as raw files are; others are not looked at.

    Numeric columns are numbers, categorical ones texts or numbers, sequences lists of integers or
    texts, or these joined by commas, the row's time a non-negative integer. None is missing, or an
    empty history. Raises UserError, with the row and the column, for any other value, and for a
    row without one of the columns.
    """

    def __init__(self, rows: Sequence[Row], columns: Columns, simulated: bool) -> None:
        numeric = np.empty((len(rows), len(columns.numeric)), np.float32)
        for i, name in enumerate(columns.numeric):
            numeric[:, i] = _values(rows, name, _number)
        made = {
            name: pa.array(_values(rows, name, value_as_text), pa.string())
            for name in columns.categorical
        }
        made |= {name: _sequences(_values(rows, name, _tokens)) for name in columns.ragged}
        if columns.row_time:
            made[columns.row_time] = pa.array(_values(rows, columns.row_time, _time), pa.int64())
        numbers, others = np.arange(len(rows)), replace(columns, numeric=())
        batch = pa.RecordBatch.from_pydict(made)
        block, words = convert_batch(batch, numbers, others, _NAME, numbers)
        header = Header(
            Path(_NAME),
            columns.numeric,
            columns.categorical,
            columns.ragged,
            {"simulated": simulated},
            columns.row_time is not None,
        )
        super().__init__(header, replace(block, numeric=numeric), words)


def _values(rows: Sequence[Row], column: str, parse: Callable[[Any], Any]) -> list[Any]:
    """What `parse` makes of each row's value."""
    try:
        return [parse(row[column]) for row in rows]
    except (KeyError, TypeError, ValueError, OverflowError):
        # A second time, to find it.
        for i, row in enumerate(rows):
            if column not in row:
                raise UserError(
                    f"row {i}: lacks column {column!r}; give None where a value is missing"
                ) from None
            try:
                parse(row[column])
            except (TypeError, ValueError, OverflowError) as error:
                raise UserError(
                    f"row {i}: column {column!r} is {row[column]!r:.80}: {error}"
                ) from None
        raise


def _number(value: Any) -> float:
    if isinstance(value, str):
        raise ValueError("give a number, or None where it is missing")
    return np.nan if value is None else float(value)


def _time(value: Any) -> int | None:
    return None if value is None else operator.index(value)


def _tokens(value: Any) -> str | list[str] | None:
    """A sequence as text, which is parsed faster, or as a list where only that can hold it."""
    if isinstance(value, str) and NO_TEXT.search(value):
        raise ValueError(
            "join events by commas, without blanks, quotes, brackets, | or ;, or give a list"
        )
    if value is None or isinstance(value, str):
        return value
    if not all(isinstance(token, str | int | np.integer) for token in value):
        raise ValueError("give a list of integers or texts")
    tokens = list(map(str, value))
    joined = ",".join(tokens)
    is_text = joined.count(",") == max(0, len(tokens) - 1) and not NO_TEXT.search(joined)
    return joined if is_text and "" not in tokens else tokens


def _sequences(values: list[str | list[str] | None]) -> pa.Array:
    """A column of what `_tokens` gives."""
    if not any(isinstance(value, list) for value in values):
        return pa.array(values, pa.string())
    lists = [value.split(",") if value and isinstance(value, str) else value for value in values]
    return pa.array([value or None for value in lists], pa.list_(pa.string()))
