"""Rows of different length, as values and offsets, and how text becomes such rows.

The loops over events are compiled by Numba; nothing else in the workflow touches single events.
"""

from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import UserError

_COMMA, _ZERO = ord(","), ord("0")
# 18 digits always fit int64.
_MOST_DIGITS = 18


@dataclass(frozen=True)
class Ragged:
    """Row i is values[offsets[i]:offsets[i+1]]; `offsets` has one entry more than there are rows.

    rows [[7, 8], [], [9]]:   values [7, 8, 9], offsets [0, 2, 2, 3]
    """

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Length of each row, int64 [rows]."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray, newest: int | None = None) -> "Ragged":
        """The rows of these numbers in this order, each cut to its `newest` last values."""
        ends = self.offsets[1:][rows]
        lengths = ends - self.offsets[:-1][rows]
        if newest is not None:
            lengths = np.minimum(lengths, newest)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        values = np.empty(offsets[-1], self.values.dtype)
        _copy_rows(self.values, ends - lengths, offsets, values)
        return Ragged(values, offsets)


def parse_sequences(text: pa.Array, column: str, file: str, rows: np.ndarray) -> Ragged:
    """Comma-joined non-negative integers to ragged rows; null and '' are empty rows.

    `rows` are the row numbers of `text` in `file`, counted from 0; raises UserError with the row
    and the value of the first bad token.
    """
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
    most_tokens = (int(bounds[-1] - bounds[0]) + 1) // 2 + len(text)
    offsets = np.zeros(len(text) + 1, np.int64)
    # Event codes nearly always fit 16 bits; where they do not, parse again.
    for dtype in (np.uint16, np.uint64):
        values = np.empty(most_tokens, dtype)
        bad_row, largest = _parse(raw, bounds, values, offsets)
        if bad_row >= 0:
            _refuse(text[int(bad_row)], column, file, int(rows[bad_row]))
        if largest <= np.iinfo(dtype).max:
            break
    return Ragged(values[: offsets[-1]].astype(np.min_scalar_type(int(largest))), offsets)


def narrow(values: np.ndarray) -> np.ndarray:
    """Non-negative integers in the smallest unsigned type that holds them all."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))), copy=False)


@numba.njit(nogil=True)
def _parse(
    raw: np.ndarray, bounds: np.ndarray, values: np.ndarray, offsets: np.ndarray
) -> tuple[int, np.uint64]:
    """Fill `values` and `offsets` from the bytes raw[bounds[i]:bounds[i+1]] of each row i.

    Returns the first row with a bad token, or -1, and the largest value.
    """
    count = 0
    largest = np.uint64(0)
    for row in range(len(bounds) - 1):
        value, digits = np.uint64(0), 0
        for i in range(bounds[row], bounds[row + 1]):
            if raw[i] == _COMMA:
                if digits == 0:
                    return row, largest
                values[count] = value
                count += 1
                largest = max(largest, value)
                value, digits = np.uint64(0), 0
            else:
                digit = np.uint8(raw[i] - _ZERO)
                digits += 1
                if digit > 9 or digits > _MOST_DIGITS:
                    return row, largest
                value = value * np.uint64(10) + np.uint64(digit)
        if bounds[row + 1] > bounds[row]:
            if digits == 0:
                return row, largest
            values[count] = value
            count += 1
            largest = max(largest, value)
        offsets[row + 1] = count
    return -1, largest


@numba.njit(nogil=True)
def _copy_rows(
    values: np.ndarray, starts: np.ndarray, offsets: np.ndarray, copied: np.ndarray
) -> None:
    """Row i of `copied`, at offsets[i], is what stands in `values` from starts[i] on."""
    for row in range(len(starts)):
        shift = starts[row] - offsets[row]
        for i in range(offsets[row], offsets[row + 1]):
            copied[i] = values[i + shift]


def _refuse(text: pa.Scalar, column: str, file: str, row: int) -> None:
    """Raise UserError for the first bad token of `text`."""
    sequence = text.cast(pa.large_binary()).as_py().decode(errors="backslashreplace")
    bad = next(
        token
        for token in sequence.split(",")
        if not (token.isascii() and token.isdigit()) or len(token) > _MOST_DIGITS
    )
    raise UserError(
        f"{file}: column {column!r}, row {row}: token {bad!r} is not a non-negative integer of at "
        f"most {_MOST_DIGITS} digits; a sequence is such integers joined by commas, for example "
        f"12,7,301"
    )
