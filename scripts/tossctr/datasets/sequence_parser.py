"""The parser of sequences: text of tokens joined by a separator, or lists, to ragged rows.

The loops over events are compiled by Numba. A token is an integer, or any other text, such as 007,
which is kept as a hash (`categories.py`).
"""

import re

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.arrays import Ragged, narrow
from ..common.errors import UserError
from .categories import codes_of, plain_words, tokens_of

_ZERO = np.uint8(ord("0"))
# So many always fit int64.
_MOST_DIGITS = 18
_INTEGER = f"^[0-9]{{1,{_MOST_DIGITS}}}$"
# An event 007 is a code, not a number, as it is in a category.
_NUMBER = f"^(0|[1-9][0-9]{{0,{_MOST_DIGITS - 1}}})$"
# The least number of so many digits; 0 of one.
_LEAST = np.array([0, 0, *(10**n for n in range(1, _MOST_DIGITS))], np.uint64)
# In text, a token has no characters of any separator, or of a list that is written as text.
NO_TEXT = re.compile(r"""[\x00\s\v,|;\[\]{}"']""", re.ASCII)
_TEXT_TOKEN = rf"^[^{NO_TEXT.pattern[1:-1]}]+$"
_LIST_TOKEN = r"^[^\x00]+$"
_WANTED = {
    _INTEGER: f"a non-negative integer of at most {_MOST_DIGITS} digits, as times of events are",
    _TEXT_TOKEN: "a token: in text, tokens are joined by commas, or by the `separator` of their "
    "group of columns, and have no blank, comma, quote, bracket, | or ; in them, for example "
    "12,a7,301; a column of lists may hold any others",
    _LIST_TOKEN: "a token: write a text or an integer, or leave it out",
}


def parse_sequences(
    text: pa.Array,
    column: str,
    file: str,
    rows: np.ndarray,
    order: np.ndarray,
    *,
    times: bool = False,
    separator: str = ",",
) -> tuple[Ragged, list[str]]:
    """Parse tokens joined by `separator` to ragged rows; also returns those that are not integers.

    Row i is parsed from text[order[i]], which may also be a list of integers or of texts; null and
    '' are empty rows. Tokens of up to 18 digits are integers, without a 0 in front; of `times`, all
    are. `rows` are the row numbers of `text` in `file`, from 0. Raises UserError with the row and
    the value of the first bad token.
    """
    where = column, file, rows, order
    if pa.types.is_list(text.type) or pa.types.is_large_list(text.type):
        is_whole = np.array_equal(order, np.arange(len(text)))
        lists = text if is_whole else text.take(pa.array(order))
        return _from_lists(lists, _INTEGER if times else _LIST_TOKEN, *where)
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
    values = np.empty(most_tokens, np.uint64)
    # Minus the character 0, as digits are.
    separator_digit = np.uint8((ord(separator) - ord("0")) % 256)
    if _parse(raw, starts, ends, separator_digit, values, offsets):
        return Ragged(narrow(values[: offsets[-1]]), offsets), []
    text = text.take(pa.array(order))
    # Lists without a check; '' is null.
    lists = pc.split_pattern(pc.if_else(pc.equal(text, ""), None, text), separator)
    return _from_lists(lists, _INTEGER if times else _TEXT_TOKEN, *where)


# A single loop: other forms run a quarter faster, but compile a second longer.
@numba.njit(nogil=True)
def _parse(
    raw: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    separator_digit: np.uint8,
    values: np.ndarray,
    offsets: np.ndarray,
) -> bool:
    """Fill `values` and `offsets` from the bytes raw[starts[i]:ends[i]] of each row i.

    False if a token is no integer, has a 0 in front or too many digits.
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
                if digit != separator_digit or not 0 < digits <= _MOST_DIGITS:
                    return False
                if value < _LEAST[digits]:
                    return False
                values[count] = value
                count += np.uintp(1)
                value, digits = np.uint64(0), 0
        if ends[row] > starts[row]:
            if not 0 < digits <= _MOST_DIGITS or value < _LEAST[digits]:
                return False
            values[count] = value
            count += np.uintp(1)
        offsets[row + 1] = count
    return True


def _from_lists(
    lists: pa.Array, good: str, column: str, file: str, rows: np.ndarray, order: np.ndarray
) -> tuple[Ragged, list[str]]:
    """The rows of a column of lists, and the tokens that are not integers.

    A null list is empty. Raises UserError for a token that does not match `good`, and for null.
    """
    lengths = pc.list_value_length(lists)
    if lengths.null_count:
        lengths = pc.fill_null(lengths, 0)
    offsets = np.concatenate(([0], np.cumsum(lengths.to_numpy(), dtype=np.int64)))
    tokens = lists.flatten()
    if pa.types.is_integer(tokens.type) and not tokens.null_count:
        values = tokens.to_numpy()
        if values.min(initial=0) >= 0 and values.max(initial=0) < 10**_MOST_DIGITS:
            return Ragged(narrow(values), offsets), []
    # As text, which a list of integers reads like too.
    tokens = tokens.cast(pa.string())
    encoded = tokens.dictionary_encode()
    distinct = encoded.dictionary
    # The last one stands for null.
    is_good = np.append(pc.match_substring_regex(distinct, good), False)
    place = pc.fill_null(encoded.indices, len(distinct)).to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(~is_good[place])
    if len(bad):
        places = order[np.searchsorted(offsets, bad, side="right") - 1]
        first = int(places.argmin())
        token = tokens[int(bad[first])].cast(pa.binary()).as_py()
        shown = None if token is None else token.decode(errors="backslashreplace")
        raise UserError(
            f"{file}: column {column!r}, row {rows[places[first]]}: token {shown!r} is not "
            f"{_WANTED[good]}"
        )
    is_integer = pc.match_substring_regex(distinct, _INTEGER if good == _INTEGER else _NUMBER)
    words = distinct.filter(pc.invert(is_integer)).to_pylist()
    chosen, values = np.asarray(is_integer), np.empty(len(distinct), np.int64)
    values[chosen] = distinct.filter(is_integer).cast(pa.int64())
    values[~chosen] = tokens_of(codes_of(words))
    return Ragged(narrow(values[place]), offsets), plain_words(words)
