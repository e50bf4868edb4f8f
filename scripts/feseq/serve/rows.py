"""Rows as dictionaries, column name to raw value, as a table in memory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common.errors import UserError
from ..common.ragged import Ragged, require_equal_lengths
from ..dataset.block import Block
from ..dataset.categories import MISSING_CODE, codes_of
from ..dataset.raw_text import value_as_text
from ..dataset.table import Header, MemoryTable

Row = Mapping[str, Any]


class RowTable(MemoryTable):
    """Rows with the columns named; others are not looked at.

    Numeric columns are numbers, categorical ones texts or numbers, sequences lists of non-negative
    integers or these joined by commas, `row_time` a non-negative integer. None is missing, or an
    empty history. Raises UserError, with the row and the column, for any other value, and for a
    row without one of the columns.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        numeric: Sequence[str],
        categorical: Sequence[str],
        sequences: Sequence[str],
        row_time: str | None = None,
        simulated: bool,
    ) -> None:
        codes = np.empty((len(rows), len(categorical)), np.uint64)
        for i, name in enumerate(categorical):
            texts = _values(rows, name, value_as_text)
            is_missing = np.array([text is None for text in texts], bool)
            codes[:, i] = np.where(is_missing, MISSING_CODE, codes_of([t or "" for t in texts]))
        numbers = np.empty((len(numeric), len(rows)), np.float32)
        for i, name in enumerate(numeric):
            numbers[i] = _values(rows, name, _number)
        histories = {name: _histories(rows, name) for name in sequences}
        require_equal_lengths(histories, lambda i: f"row {i}")
        time = np.array(_values(rows, row_time, _time), np.int64) if row_time else None
        block = Block(numbers.T, codes, histories, np.arange(len(rows)), time=time)
        source, has_times = {"simulated": simulated}, row_time is not None
        header = Header(Path("the rows"), numeric, categorical, sequences, source, has_times)
        super().__init__(header, block)


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
    if value is None:
        return np.nan
    if isinstance(value, str):
        raise ValueError("give a number, or None where it is missing")
    return float(value)


def _time(value: Any) -> int:
    if value is None or isinstance(value, str) or value != int(value) or value < 0:
        raise ValueError("give the row's time, a non-negative integer")
    return int(value)


def _histories(rows: Sequence[Row], column: str) -> Ragged:
    # Candidates for one user share his history.
    known: dict[int, tuple[Any, np.ndarray]] = {}

    def tokens(value: Any) -> np.ndarray:
        # Kept with its value, since the id of a value that is gone may be another's.
        if id(value) not in known:
            known[id(value)] = (value, _tokens(value))
        return known[id(value)][1]

    parts = _values(rows, column, tokens)
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=np.int64)))
    return Ragged(np.concatenate([np.empty(0, np.int64), *parts]), offsets)


def _tokens(value: Any) -> np.ndarray:
    if isinstance(value, str):
        parts = value.split(",") if value else []
        value = [int(part) if part.strip().isdecimal() else -1 for part in parts]
    tokens = np.asarray([] if value is None else value)
    if not len(tokens):
        return np.empty(0, np.int64)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or tokens.min() < 0:
        raise ValueError("give a list of non-negative integers, newest last, or 12,7,301 as text")
    return tokens.astype(np.int64)
