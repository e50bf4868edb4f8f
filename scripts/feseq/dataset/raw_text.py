"""Raw values as text: what makes two of them the same category, ID or group."""

import pyarrow as pa


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


def _float_as_text(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
