"""Raw values as text: what makes two of them the same category, ID or group."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError, first_line


def as_text(column: pa.Array) -> pa.Array:
    """Any categorical column as strings, null where missing.

    Whole floats read like integers, 1.0 like 1: pandas turns an integer column with missing values
    into floats, and one of two files may have them.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        # A missing float is NaN for pandas and null for parquet: one meaning, one value.
        texts = [
            None if value is None or value != value else _float_as_text(value)
            for value in column.to_pylist()
        ]
        return pa.array(texts, pa.string())
    return column.cast(pa.string())


def value_as_text(value: Any) -> str | None:
    """The text that a column of values like this one has for it, None where it is missing."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | np.floating):
        return _float_as_text(float(value))
    if not isinstance(value, str | int | np.integer):
        raise TypeError("give a text or a number, or None where it is missing")
    return str(value)


def _float_as_text(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def checked_text(column: pa.Array, name: str, path: str) -> pa.StringArray:
    """The same as text; raises UserError for what is no UTF-8 text, or H5 cannot keep."""
    try:
        texts = as_text(column)
        texts.validate(full=True)
    except pa.ArrowException as error:
        raise UserError(
            f"{path}: column {name!r} of type {column.type} cannot be read as UTF-8 text "
            f"({first_line(error)}); write it as strings or integers, or name another one"
        ) from None
    with_nul = texts.filter(pc.fill_null(pc.match_substring(texts, "\0"), False))
    if len(with_nul):
        raise UserError(
            f"{path}: column {name!r} holds a NUL byte, for example in {with_nul[0].as_py()!r}; "
            f"remove such bytes, H5 cannot keep them"
        )
    return texts


def checked_ids(column: pa.Array, first_row: int, name: str, path: str) -> pa.StringArray:
    """The IDs of some rows as text; raises UserError if one is no text or is missing."""
    ids = checked_text(column, name, path)
    if ids.null_count:
        row = first_row + pc.index(ids.is_null(), True).as_py()
        raise UserError(
            f"{path}: ID {name!r} is missing in {ids.null_count:,} of the rows {first_row:,} to "
            f"{first_row + len(ids) - 1:,}, first row {row}; a submission needs the ID of every row"
        )
    return ids
