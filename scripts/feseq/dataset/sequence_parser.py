"""The parser of sequences: text of comma-joined integers, or lists, to ragged rows.

The loops over events are compiled by Numba.
"""

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError
from ..common.ragged import Ragged, narrow

_COMMA, _ZERO = np.uint8(ord(",")), np.uint8(ord("0"))
# A comma minus the character 0, as digits are.
_COMMA_DIGIT = np.uint8(256 + ord(",") - ord("0"))
# 18 digits always fit int64.
_MOST_DIGITS = 18
# Stands for a token that _parse_short cannot read.
_TOO_LONG = np.uint16(65_535)


def parse_sequences(
    text: pa.Array, column: str, file: str, rows: np.ndarray, order: np.ndarray
) -> Ragged:
    """Comma-joined non-negative integers to ragged rows; null and '' are empty rows.

    Row i is parsed from text[order[i]], which may also be a list of integers or of texts. `rows`
    are the row numbers of `text` in `file`, from 0. Raises UserError with the row and the value of
    the first bad token.
    """
    if pa.types.is_list(text.type) or pa.types.is_large_list(text.type):
        taken = _from_lists(text, column, file, rows).take(order)
        return Ragged(narrow(taken.values), taken.offsets)
    if pa.types.is_dictionary(text.type):
        text = text.dictionary_decode()
    if pa.types.is_null(text.type):
        text = text.cast(pa.string())
    if text.null_count:
        text = pc.fill_null(text, "")
    offset_type = np.int64 if pa.types.is_large_string(text.type) else np.int32
    bounds = np.frombuffer(text.buffers()[1], offset_type)[text.offset :][: len(text) + 1]
    data = text.buffers()[2]
    raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    starts, ends = bounds[:-1][order], bounds[1:][order]
    most_tokens = (int((ends - starts).sum()) + 1) // 2 + len(order)
    offsets = np.zeros(len(order) + 1, np.int64)
    values = np.empty(most_tokens + 1, np.uint16)
    longest = int((ends - starts).max(initial=0))
    # Four commas before the first byte and one behind the last, so that no loop looks outside.
    digits = np.full(longest + 5, _COMMA_DIGIT)
    numbers = np.empty(longest, np.uint16)
    is_short = _parse_short(raw, starts, ends, digits, numbers, values, offsets)
    if not is_short or values[: offsets[-1]].max(initial=0) == _TOO_LONG:
        values = np.empty(most_tokens, np.uint64)
        if _parse(raw, starts, ends, values, offsets) >= 0:
            by_row = np.sort(order)
            bad = by_row[_parse(raw, bounds[:-1][by_row], bounds[1:][by_row], values, offsets)]
            _refuse(text[int(bad)], column, file, int(rows[bad]))
    return Ragged(narrow(values[: offsets[-1]]), offsets)


@numba.njit(nogil=True)
def _parse_short(
    raw: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    digits: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    offsets: np.ndarray,
) -> bool:
    """Like `_parse`, but 2.5 times as fast, for tokens of at most four digits.

    It reads a row in three loops without a branch: from bytes to digits; from digits to the number
    that would end at each byte; and from these to the numbers before a comma. The compiler turns
    the first two into vector instructions. Returns True if every character is a digit or a comma;
    an empty or longer token becomes _TOO_LONG. `values` needs one place more than there are tokens.
    """
    count = 0
    for row in range(len(starts)):
        length = ends[row] - starts[row]
        if length > 0:
            largest = _to_digits(raw[starts[row] : ends[row]], digits[4:])
            if largest > 9 or digits[4] == _COMMA_DIGIT:
                return False
            digits[4 + length] = _COMMA_DIGIT
            _to_numbers(digits, numbers[:length])
            count = _keep_ends(digits[5:], numbers[:length], values, count)
        offsets[row + 1] = count
    return True


@numba.njit(nogil=True)
def _to_digits(text: np.ndarray, digits: np.ndarray) -> np.uint8:
    """Fill `digits`, a comma as _COMMA_DIGIT; returns the largest of the others."""
    largest = np.uint8(0)
    for i in range(len(text)):
        digit = np.uint8(text[i] - _ZERO)
        digits[i] = digit
        largest = max(largest, digit if digit != _COMMA_DIGIT else np.uint8(0))
    return largest


@numba.njit(nogil=True)
def _to_numbers(digits: np.ndarray, numbers: np.ndarray) -> None:
    """numbers[i] is what the digits up to digits[i + 4] spell since the last comma."""
    count = len(numbers)
    ones, tens, hundreds = digits[4 : 4 + count], digits[3 : 3 + count], digits[2 : 2 + count]
    thousands, before = digits[1 : 1 + count], digits[:count]
    for i in range(count):
        number = np.uint16(thousands[i] * np.uint16(10)) if thousands[i] < 10 else np.uint16(0)
        number = np.uint16((number + hundreds[i]) * 10) if hundreds[i] < 10 else np.uint16(0)
        number = np.uint16((number + tens[i]) * 10) if tens[i] < 10 else np.uint16(0)
        number = np.uint16(number + ones[i])
        largest = max(max(max(ones[i], tens[i]), max(hundreds[i], thousands[i])), before[i])
        number = _TOO_LONG if largest < 10 else number
        numbers[i] = _TOO_LONG if ones[i] > 9 else number


@numba.njit(nogil=True)
def _keep_ends(after: np.ndarray, numbers: np.ndarray, values: np.ndarray, count: int) -> int:
    """Append the numbers that a comma follows to `values`, which holds `count`."""
    place = np.uintp(count)
    for i in range(len(numbers)):
        # Every number is written; one that does not end here is overwritten by the next.
        values[place] = numbers[i]
        place += np.uintp(after[i] == _COMMA_DIGIT)
    return int(np.int64(place))


@numba.njit(nogil=True)
def _parse(
    raw: np.ndarray, starts: np.ndarray, ends: np.ndarray, values: np.ndarray, offsets: np.ndarray
) -> int:
    """Fill `values` and `offsets` from the bytes raw[starts[i]:ends[i]] of each row i.

    Returns the first row with a bad token, or -1.
    """
    count = 0
    for row in range(len(starts)):
        value, digits = np.uint64(0), 0
        for i in range(starts[row], ends[row]):
            if raw[i] == _COMMA:
                if digits == 0:
                    return row
                values[count] = value
                count += 1
                value, digits = np.uint64(0), 0
            else:
                digit = np.uint8(raw[i] - _ZERO)
                digits += 1
                if digit > 9 or digits > _MOST_DIGITS:
                    return row
                value = value * np.uint64(10) + np.uint64(digit)
        if ends[row] > starts[row]:
            if digits == 0:
                return row
            values[count] = value
            count += 1
        offsets[row + 1] = count
    return -1


def _from_lists(lists: pa.Array, column: str, file: str, rows: np.ndarray) -> Ragged:
    """The rows of a column of lists; a null list is empty, a null in one is refused."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    # As text, which a list of integers reads like too.
    tokens = lists.flatten().cast(pa.string())
    is_good = pc.match_substring_regex(tokens, f"^[0-9]{{1,{_MOST_DIGITS}}}$")
    is_good = pc.fill_null(is_good, False).to_numpy(zero_copy_only=False)
    if not is_good.all():
        bad = int(is_good.argmin())
        row = int(rows[np.searchsorted(offsets, bad, side="right") - 1])
        raise _bad_token(tokens[bad].as_py(), column, file, row)
    return Ragged(tokens.cast(pa.int64()).to_numpy(zero_copy_only=False), offsets)


def _refuse(text: pa.Scalar, column: str, file: str, row: int) -> None:
    """Raise UserError for the first bad token of `text`."""
    sequence = text.cast(pa.large_binary()).as_py().decode(errors="backslashreplace")
    bad = next(
        token
        for token in sequence.split(",")
        if not (token.isascii() and token.isdigit()) or len(token) > _MOST_DIGITS
    )
    raise _bad_token(bad, column, file, row)


def _bad_token(bad: str | None, column: str, file: str, row: int) -> UserError:
    return UserError(
        f"{file}: column {column!r}, row {row}: token {bad!r} is not a non-negative integer of at "
        f"most {_MOST_DIGITS} digits; a sequence is such integers joined by commas, for example "
        f"12,7,301"
    )
