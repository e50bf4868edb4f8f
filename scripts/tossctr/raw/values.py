"""Values of raw columns: allowed types by role, and conversion to text and labels."""

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError, first_line, row_name
from ..config.columns import Columns

# Missing values as written by R, pandas, Python, databases and Excel, in lower case.
MISSING_WORDS = ("na", "nan", "<na>", "nat", "none", "null", r"\n", "n/a", "#n/a")
# Words for the labels 1 and 0; case and surrounding blanks are ignored.
LABEL_PAIRS = (("yes", "no"), ("y", "n"), ("true", "false"), ("t", "f"))
# The column of row numbers in a file of predictions, if the table has no IDs.
ROW_COLUMN = "row"
_ZONE = re.compile("[Z+-]")
_NUMBER = re.compile("-?[0-9]+")
_NAMES: Mapping[str, Callable[[pa.DataType], bool]] = {
    "": pa.types.is_null,
    "text": lambda each: pa.types.is_string(each) or pa.types.is_large_string(each),
    "integer": pa.types.is_integer,
    "float": lambda each: pa.types.is_floating(each) or pa.types.is_decimal(each),
    "boolean": pa.types.is_boolean,
    "timestamp": pa.types.is_timestamp,
}


def decoded_type(arrow_type: pa.DataType) -> pa.DataType:
    """The Arrow type of a column after `decode`: without dictionaries and string views."""
    if pa.types.is_dictionary(arrow_type):
        return decoded_type(arrow_type.value_type)
    if pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type):
        inner = decoded_type(arrow_type.value_type)
        if inner != arrow_type.value_type:
            return pa.list_(inner) if pa.types.is_list(arrow_type) else pa.large_list(inner)
    return pa.string() if pa.types.is_string_view(arrow_type) else arrow_type


def decode(values: pa.Array) -> pa.Array:
    """The values of a column as plain values, without dictionaries and string views."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    wanted = decoded_type(values.type)
    return values if values.type == wanted else values.cast(wanted)


def cast_rows(values: pa.Array, arrow_type: pa.DataType, first_row: int) -> pa.Array:
    """Cast values to an Arrow type; raises ValueError if a value cannot be cast.

    The message has the value's row; `first_row` is the row number of the first value.
    """
    try:
        return values.cast(arrow_type)
    except pa.ArrowException:
        for i in range(len(values)):
            try:
                values[i : i + 1].cast(arrow_type)
            except pa.ArrowException as error:
                raise ValueError(f"{row_name(first_row + i)}: {first_line(error)}") from None
        raise


@cache
def type_name(arrow_type: pa.DataType) -> str:
    """A type's name in messages; '' for null, the type of a column without values."""
    if pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type):
        return f"list of {type_name(decoded_type(arrow_type.value_type))}"
    return next((name for name, fits in _NAMES.items() if fits(arrow_type)), str(arrow_type))


def text_format(arrow_type: pa.DataType) -> str:
    """A name for all types that `as_text` writes alike, such as integer and float."""
    if pa.types.is_timestamp(arrow_type):
        return "timestamp with a zone" if arrow_type.tz else "timestamp"
    return type_name(arrow_type).replace("integer", "float")


def check_types(schema: pa.Schema, columns: Columns, where: str) -> None:
    """Raise UserError if a column in use has a type that its role does not allow."""
    numbers = ("", "integer", "float", "boolean")
    for role, allowed, names in (
        ("categorical", (*numbers, "text"), columns.categorical),
        ("numeric", numbers, columns.numeric),
        (
            "a sequence",
            ("", "text", "list of ", "list of text", "list of integer"),
            columns.sequence_columns,
        ),
        ("a time", ("integer", "timestamp"), [columns.row_time] if columns.row_time else []),
    ):
        for name in names:
            column_type = schema.field(name).type
            if type_name(column_type) not in allowed:
                can_be = " or ".join(each for each in allowed if each.strip() == each != "")
                raise UserError(
                    f"{where}: column {name!r} has type {column_type} and cannot be {role}; "
                    f"convert it to {can_be}"
                )


def as_text(column: pa.Array) -> pa.Array:
    """A categorical column of any type as strings; missing values are null.

    Integral floats and decimals become integers, 1.0 as 1, since pandas converts integers with
    missing values to floats, and databases write decimals.
    """
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        # NaN (pandas) and null (parquet) are missing values.
        values = column.to_numpy(zero_copy_only=False)
        texts = [None if v is None or v != v else _number_as_text(v) for v in values]
        return pa.array(texts, pa.string())
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _number_as_text(value: Any) -> str:
    """A NumPy float or a Decimal as its shortest text: 0.1 as float32 becomes 0.1."""
    is_whole = math.isfinite(value) and int(value) == value
    return str(int(value)) if is_whole else repr(float(str(value)))


def drop_zero_decimals(texts: pa.Array) -> pa.Array:
    """The texts, with 38.0 as 38: pandas writes integers as 38.0 in columns with missing values."""
    return pc.replace_substring_regex(texts, r"^(-?(?:0|[1-9]\d*))\.0$", r"\1")


def time_type(word: str) -> pa.DataType:
    """The Arrow type for times that are written like the text `word`: int64 or a timestamp."""
    if _NUMBER.fullmatch(word):
        return pa.int64()
    return pa.timestamp("ns", "UTC" if _ZONE.search(word, len("2024-01-31")) else None)


def label_pair(labels: pa.Array) -> tuple[str, str] | None:
    """The pair of LABEL_PAIRS that has the first non-missing label; None if there is none."""
    if type_name(labels.type) != "text":
        return None
    words = [word.strip().lower() for word in pc.drop_null(labels)[:1].to_pylist()]
    return next((pair for pair in LABEL_PAIRS if {*words} & {*pair}), None)


def labels_as_numbers(labels: pa.Array, pair: tuple[str, str] | None) -> pa.Array:
    """The labels with the words of `pair` as 1 and 0, others as null; without `pair`, unchanged."""
    if pair is None:
        return labels
    words = pc.ascii_lower(pc.ascii_trim_whitespace(labels))
    return pc.subtract(1, pc.index_in(words, value_set=pa.array(pair, labels.type)))


def checked_text(column: pa.Array, name: str, path: str) -> pa.StringArray:
    """The column `name` of the file `path` as text; raises UserError for NUL bytes or bad UTF-8."""
    try:
        texts = as_text(column)
        texts.validate(full=True)
        if pc.any(pc.match_substring(texts, "\0")).as_py():
            raise pa.ArrowInvalid("a NUL byte, which H5 cannot store")
    except pa.ArrowException as error:
        raise UserError(
            f"{path}: column {name!r} of type {column.type} is not valid text "
            f"({first_line(error)}); write it as integers or UTF-8 (bytes as hexadecimal digits)"
        ) from None
    return texts


def row_ids(rows_before: int, count: int) -> pa.StringArray:
    """IDs for `count` rows of a table without IDs: their row numbers, from 1 on, as text."""
    return pa.array(np.arange(rows_before + 1, rows_before + count + 1)).cast(pa.string())


def checked_ids(column: pa.Array, first_row: int, name: str, path: str) -> pa.StringArray:
    """The IDs in `column` as text; raises UserError if an ID is missing or not UTF-8.

    Messages call the column `name`, the file `path`, and count rows from number `first_row`.
    """
    ids = checked_text(column, name, path)
    if ids.null_count:
        row = first_row + pc.index(ids.is_null(), True).as_py()
        raise UserError(
            f"{path}: column {name!r} has no ID in {row_name(row)}; give every row an ID"
        )
    return ids
