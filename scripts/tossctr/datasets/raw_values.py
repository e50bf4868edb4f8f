"""Converts raw columns to the H5 format, batch by batch: numbers, categories, times, sequences.

A sequence is a list of tokens, or a text of tokens joined by a separator. A token is an integer or
a text; a text, such as 007, is stored as a hash (`categories.py`).
"""

import re
from collections.abc import Mapping, Sequence

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.arrays import Ragged, narrow_dtype
from ..common.errors import UserError, row_name
from ..config.columns import Columns
from ..raw.values import as_text, checked_text
from .categories import MISSING_CODE, codes_of, lowercase_booleans, tokens_of
from .table import Block

# The raw strings of categories and text tokens in a batch, by column.
RawStrings = Mapping[str, Sequence[str]]

_ZERO = np.uint8(ord("0"))
# Numbers of this many digits always fit int64.
_MAX_DIGITS = 18
_INTEGER = f"^[0-9]{{1,{_MAX_DIGITS}}}$"
# As in a category, 007 is a text.
_NUMBER = f"^(0|[1-9][0-9]{{0,{_MAX_DIGITS - 1}}})$"
# At index n, the smallest number with n digits; the number 0 has one digit.
_LEAST = np.array([0, 0, *(10**n for n in range(1, _MAX_DIGITS))], np.uint64)
# Characters that tokens in text must not contain: separators, brackets and quotes of lists.
NO_TEXT = re.compile(r"""[\x00\s\v,|;\[\]{}"']""", re.ASCII)
_TEXT_TOKEN = rf"^[^{NO_TEXT.pattern[1:-1]}]+$"
_LIST_TOKEN = r"^[^\x00]+$"
_WANTED = {
    _INTEGER: f"must be an event's time: a non-negative integer of at most {_MAX_DIGITS} digits",
    _TEXT_TOKEN: "is empty or has a blank, comma, quote, bracket, | or ;. Join tokens by the "
    "`separator` of the table file; or write lists, whose tokens may contain these",
    _LIST_TOKEN: "is missing, empty or has a NUL byte; write a text or an integer, or leave it out",
}


def convert_batch(
    batch: pa.RecordBatch, rows: np.ndarray, columns: Columns, path: str
) -> tuple[Block, RawStrings]:
    """Convert a batch of raw rows to a Block; also return the distinct texts of each column.

    `rows` has the rows' numbers in the raw file `path`.
    """
    numeric = np.empty((len(rows), len(columns.numeric)), np.float32)
    for i, name in enumerate(columns.numeric):
        numeric[:, i] = _as_float32(batch.column(name))
    categorical = np.empty((len(rows), len(columns.categorical)), np.uint64)
    words: dict[str, list[str]] = {}
    for i, name in enumerate(columns.categorical):
        categorical[:, i], words[name] = _as_codes(batch.column(name), name, path)
    sequences: dict[str, Ragged] = {}
    for name in columns.sequence_columns:
        sequences[name], words[name] = parse_sequences(
            batch.column(name),
            name,
            path,
            rows,
            times=name == columns.event_time,
            separator=columns.separator,
        )
        first = columns.sequence_columns[0]
        unequal = np.flatnonzero(sequences[name].lengths != sequences[first].lengths)
        if len(unequal):
            i = unequal[0]
            raise UserError(
                f"{path}, {row_name(rows[i])}: sequence {first!r} has "
                f"{sequences[first].lengths[i]} events, {name!r} has {sequences[name].lengths[i]}; "
                f"give all sequences of a row equally many events"
            )
    time = None
    if columns.row_time:
        time = _as_seconds(batch.column(columns.row_time), columns.row_time, path, rows)
    return Block(numeric, categorical, sequences, rows, time=time), words


def _as_float32(column: pa.Array) -> np.ndarray:
    """A column of numbers as float32 [rows]; null becomes NaN."""
    if pa.types.is_decimal(column.type):
        # Arrow would compute in float32, with a rounding error in the last bit.
        column = column.cast(pa.float64(), safe=False)
    return column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)


def _as_codes(column: pa.Array, name: str, path: str) -> tuple[np.ndarray, list[str]]:
    """A column of categories as codes uint64 [rows], and its distinct words."""
    encoded = as_text(column).dictionary_encode()
    words = checked_text(encoded.dictionary, name, path).to_pylist()
    # The last code stands for missing values.
    codes = np.append(codes_of(words), np.uint64(MISSING_CODE))
    index = pc.fill_null(encoded.indices, len(words)).to_numpy()
    return codes[index], lowercase_booleans(words)


def _as_seconds(column: pa.Array, name: str, path: str, rows: np.ndarray) -> np.ndarray:
    """A column of times as int64 [rows]: integers unchanged, timestamps in whole seconds.

    Raises UserError if a time is missing or negative.
    """
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s", column.type.tz), safe=False)
    # Values too large for int64 become negative, which is an error below.
    counts = pc.fill_null(column.cast(pa.int64(), safe=False), -1).to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(counts < 0)
    if len(bad):
        raise UserError(
            f"{path}: column {name!r}, {row_name(rows[bad[0]])}: the row's time is missing or "
            f"negative; give each row a non-negative integer in the unit of the events' times, or "
            f"a timestamp from 1970 on, or remove `times` from columns.groups"
        )
    return counts


def parse_sequences(
    column: pa.Array,
    name: str,
    path: str,
    rows: np.ndarray,
    *,
    times: bool = False,
    separator: str = ",",
) -> tuple[Ragged, list[str]]:
    """Parse a column of sequences: return the rows' tokens as integers, and the text tokens.

    A value is a list of tokens, or a text of tokens joined by `separator`; null and '' are empty
    sequences. A token of up to 18 digits without a leading 0 is an integer. Any other is a text,
    which becomes a hash. With `times`, all tokens must be integers, and may have leading zeros.

    Raises UserError for an invalid token. `rows` are the rows' numbers in the file, for this error.
    """
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        pattern = _INTEGER if times else _LIST_TOKEN
        return _from_lists(column, pattern, f"{path}: column {name!r}", rows)
    text = pc.fill_null(column.cast(pa.string()), "")
    _, bounds, data = text.buffers()
    ends = np.frombuffer(bounds, np.int32)[text.offset :][: len(text) + 1]
    raw = np.frombuffer(data or b"\0", np.uint8)
    # A token and its separator take at least two bytes.
    values = np.empty((int(ends[-1] - ends[0]) + 1) // 2 + len(text), np.uint64)
    offsets = np.zeros(len(ends), np.int64)
    # The separator's code minus that of the character 0, as for digits.
    separator_digit = np.uint8((ord(separator) - ord("0")) % 256)
    if _parse(raw, ends, separator_digit, values, offsets):
        return Ragged(narrow_dtype(values[: offsets[-1]]), offsets), []
    # `_from_lists` checks the tokens; '' becomes null.
    lists = pc.split_pattern(pc.if_else(pc.equal(text, ""), None, text), separator)
    pattern = _INTEGER if times else _TEXT_TOKEN
    where = f"{path}: column {name!r} (separator: {separator!r})"
    return _from_lists(lists, pattern, where, rows)


# A single loop: faster variants (by a quarter) take a second longer to compile.
@numba.njit(nogil=True)
def _parse(
    raw: np.ndarray,
    bounds: np.ndarray,
    separator_digit: np.uint8,
    values: np.ndarray,
    offsets: np.ndarray,
) -> bool:
    """Fill `values` and `offsets` from the bytes raw[bounds[i]:bounds[i + 1]] of each row i.

    Returns False if a token is not an integer, or has a leading 0 or more than 18 digits.
    """
    count = np.uintp(0)
    for row in range(len(bounds) - 1):
        value, digits = np.uint64(0), 0
        for i in range(bounds[row], bounds[row + 1]):
            digit = np.uint8(raw[np.uintp(i)] - _ZERO)
            if digit <= 9:
                value = value * np.uint64(10) + np.uint64(digit)
                digits += 1
                continue
            if digit != separator_digit or not 0 < digits <= _MAX_DIGITS or value < _LEAST[digits]:
                return False
            values[count] = value
            count += np.uintp(1)
            value, digits = np.uint64(0), 0
        if bounds[row + 1] > bounds[row]:
            if not 0 < digits <= _MAX_DIGITS or value < _LEAST[digits]:
                return False
            values[count] = value
            count += np.uintp(1)
        offsets[row + 1] = count
    return True


def _from_lists(
    lists: pa.Array, pattern: str, where: str, rows: np.ndarray
) -> tuple[Ragged, list[str]]:
    """The ragged rows of a column of lists, and the tokens that are not integers.

    A null list is empty. Raises UserError if a token is null or does not match `pattern`.
    """
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    tokens = lists.flatten()
    if pa.types.is_integer(tokens.type) and not tokens.null_count:
        values = tokens.to_numpy()
        if values.min(initial=0) >= 0 and values.max(initial=0) < 10**_MAX_DIGITS:
            return Ragged(narrow_dtype(values), offsets), []
    # Integers become text, too.
    tokens = tokens.cast(pa.string())
    encoded = tokens.dictionary_encode()
    distinct = encoded.dictionary
    # The last entry stands for null.
    is_good = np.append(pc.match_substring_regex(distinct, pattern), False)
    index = pc.fill_null(encoded.indices, len(distinct)).to_numpy()
    bad = np.flatnonzero(~is_good[index])
    if len(bad):
        row = rows[np.searchsorted(offsets, bad[0], side="right") - 1]
        token = tokens[int(bad[0])].cast(pa.binary()).as_py()
        shown = None if token is None else token.decode(errors="backslashreplace")[:60]
        raise UserError(f"{where}, {row_name(row)}: token {shown!r} {_WANTED[pattern]}")
    is_integer = pc.match_substring_regex(distinct, _INTEGER if pattern == _INTEGER else _NUMBER)
    words = distinct.filter(pc.invert(is_integer)).to_pylist()
    chosen, values = np.asarray(is_integer), np.empty(len(distinct), np.int64)
    values[chosen] = distinct.filter(is_integer).cast(pa.int64())
    values[~chosen] = tokens_of(codes_of(words))
    return Ragged(narrow_dtype(values[index]), offsets), lowercase_booleans(words)
