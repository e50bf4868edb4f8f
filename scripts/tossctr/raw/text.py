"""Raw values as text: equal texts are the same category, ID or group."""

import math
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError, first_line

# What programs write for a missing value, in lower case: R, pandas, Python, databases, Excel.
MEANS_MISSING = ("na", "nan", "<na>", "nat", "none", "null", r"\n", "n/a", "#n/a")
_ZONE = re.compile("[Z+-]")
_NUMBER = re.compile("-?[0-9]+")


def as_text(column: pa.Array) -> pa.Array:
    """Any categorical column as strings, null where missing.

    Whole floats and decimals read like integers, 1.0 like 1: pandas turns an integer column with
    missing values into floats, databases write decimals, and one of two files may have them.
    """
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        # A missing float is NaN for pandas and null for parquet: one meaning, one value.
        values = column.to_numpy(zero_copy_only=False)
        texts = [None if v is None or v != v else _number_as_text(v) for v in values]
        return pa.array(texts, pa.string())
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _number_as_text(value: Any) -> str:
    """A NumPy float or a Decimal; 0.1 in 32 bits reads 0.1, and not 0.10000000149011612."""
    is_whole = math.isfinite(value) and int(value) == value
    return str(int(value)) if is_whole else repr(float(str(value)))


def whole_numbers(texts: pa.Array) -> pa.Array:
    """Texts of a file without types, in which pandas writes 38 as 38.0 beside a missing value."""
    return pc.replace_substring_regex(texts, r"^(-?(?:0|[1-9]\d*))\.0$", r"\1")


def time_type(word: str) -> pa.DataType:
    """The type in which texts like this one have the order of time: int64, or a timestamp."""
    if _NUMBER.fullmatch(word):
        return pa.int64()
    return pa.timestamp("ns", "UTC" if _ZONE.search(word, len("2024-01-31")) else None)


def checked_text(column: pa.Array, name: str, path: str) -> pa.StringArray:
    """The column as text; raises UserError if it is not UTF-8, or H5 cannot store it."""
    try:
        texts = as_text(column)
        texts.validate(full=True)
        if pc.any(pc.match_substring(texts, "\0")).as_py():
            raise pa.ArrowInvalid("a NUL byte, which H5 cannot keep")
    except pa.ArrowException as error:
        raise UserError(
            f"{path}: column {name!r} of type {column.type} cannot be read as UTF-8 text "
            f"({first_line(error)}); write it as strings (bytes in hexadecimal digits) or "
            f"integers, or name another one"
        ) from None
    return texts


def checked_ids(column: pa.Array, first_row: int, name: str, path: str) -> pa.StringArray:
    """The IDs of some rows as text; raises UserError if one is missing or is not text."""
    ids = checked_text(column, name, path)
    if ids.null_count:
        row = first_row + pc.index(ids.is_null(), True).as_py()
        raise UserError(
            f"{path}: ID {name!r} is missing in row {row}; a submission needs the ID of every row"
        )
    return ids
