"""The parser of sequences: text of comma-joined integers, or lists, to ragged rows.

The loops over events are compiled by Numba.
"""

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError
from ..common.ragged import Ragged, narrow

_ZERO = np.uint8(ord("0"))
# A comma minus the character 0, as digits are.
_COMMA_DIGIT = np.uint8(256 + ord(",") - ord("0"))
# 18 digits always fit int64, and 4 uint16.
_MOST_DIGITS, _DIGITS_OF_UINT16 = 18, 4


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
    values = np.empty(most_tokens, np.uint16)
    if _parse(raw, starts, ends, _DIGITS_OF_UINT16, values, offsets) >= 0:
        values = np.empty(most_tokens, np.uint64)
        if _parse(raw, starts, ends, _MOST_DIGITS, values, offsets) >= 0:
            by_row = np.sort(order)
            begin, end = bounds[:-1][by_row], bounds[1:][by_row]
            bad = by_row[_parse(raw, begin, end, _MOST_DIGITS, values, offsets)]
            _refuse(text[int(bad)], column, file, int(rows[bad]))
    found = values[: offsets[-1]]
    # A copy, so that the buffer, up to twice as large, is freed.
    return Ragged(found.astype(np.min_scalar_type(int(found.max(initial=0)))), offsets)


# A single loop: other forms are a quarter faster, and take a second longer to compile.
@numba.njit(nogil=True)
def _parse(
    raw: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    most_digits: int,
    values: np.ndarray,
    offsets: np.ndarray,
) -> int:
    """Fill `values` and `offsets` from the bytes raw[starts[i]:ends[i]] of each row i.

    Returns the first row with a bad token, or one of more than `most_digits`; or -1.
    """
    count = np.uintp(0)
    for row in range(len(starts)):
        value, digits = np.uint64(0), 0
        for i in range(starts[row], ends[row]):
            digit = np.uint8(raw[np.uintp(i)] - _ZERO)
            if digit <= 9:
                value = value * np.uint64(10) + np.uint64(digit)
                digits += 1
            else:
                if digit != _COMMA_DIGIT or not 0 < digits <= most_digits:
                    return row
                values[count] = value
                count += np.uintp(1)
                value, digits = np.uint64(0), 0
        if ends[row] > starts[row]:
            if not 0 < digits <= most_digits:
                return row
            values[count] = value
            count += np.uintp(1)
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
