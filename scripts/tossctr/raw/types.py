"""Types of raw columns: what values of Arrow's types are read as, and which role allows them."""

from collections.abc import Callable, Mapping
from functools import cache

import pyarrow as pa

from ..common.errors import UserError, first_line
from ..config.columns import Columns

_KINDS: Mapping[str, Callable[[pa.DataType], bool]] = {
    "": pa.types.is_null,
    "text": lambda each: pa.types.is_string(each) or pa.types.is_large_string(each),
    "integer": pa.types.is_integer,
    "float": lambda each: pa.types.is_floating(each) or pa.types.is_decimal(each),
    "boolean": pa.types.is_boolean,
    "timestamp": pa.types.is_timestamp,
}


def value_type(arrow_type: pa.DataType) -> pa.DataType:
    """The type of a column's values, which may be dictionary-encoded, or text in views."""
    if pa.types.is_dictionary(arrow_type):
        return value_type(arrow_type.value_type)
    if pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type):
        inner = value_type(arrow_type.value_type)
        if inner != arrow_type.value_type:
            return pa.list_(inner) if pa.types.is_list(arrow_type) else pa.large_list(inner)
    return pa.string() if pa.types.is_string_view(arrow_type) else arrow_type


def decoded(values: pa.Array) -> pa.Array:
    """The values in the type that `value_type` says."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    wanted = value_type(values.type)
    return values if values.type == wanted else values.cast(wanted)


def cast_rows(values: pa.Array, arrow_type: pa.DataType, first_row: int) -> pa.Array:
    """The values as another type; raises ValueError for the first that cannot be, with its row."""
    try:
        return values.cast(arrow_type)
    except pa.ArrowException:
        for i in range(len(values)):
            try:
                values[i : i + 1].cast(arrow_type)
            except pa.ArrowException as error:
                raise ValueError(f"row {first_row + i}: {first_line(error)}") from None
        raise


@cache
def type_name(arrow_type: pa.DataType) -> str:
    """What messages call a type; '' for that of a column without any value, as pandas writes."""
    if pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type):
        return f"list of {type_name(value_type(arrow_type.value_type))}"
    return next((name for name, fits in _KINDS.items() if fits(arrow_type)), str(arrow_type))


def written_like(arrow_type: pa.DataType) -> str:
    """Equal for types that write equal values as the same text; a time has a zone or none."""
    if pa.types.is_timestamp(arrow_type):
        return "timestamp with a zone" if arrow_type.tz else "timestamp"
    return type_name(arrow_type).replace("integer", "float")


def check_types(schema: pa.Schema, columns: Columns, where: str) -> None:
    """Raise UserError if the role of a column in use does not allow its type."""
    numbers = ("", "integer", "float", "boolean")
    for role, kinds, names in (
        ("categorical", (*numbers, "text"), columns.categorical),
        ("numeric", numbers, columns.numeric),
        ("a sequence", ("", "text", "list of ", "list of text", "list of integer"), columns.ragged),
        ("a time", ("integer", "timestamp"), [columns.row_time] if columns.row_time else []),
    ):
        for name in names:
            column_type = schema.field(name).type
            if type_name(column_type) not in kinds:
                can_be = ", ".join(each for each in kinds if each.strip() == each != "")
                raise UserError(
                    f"{where}: column {name!r} has type {column_type}, cannot be {role} ({can_be})"
                )
