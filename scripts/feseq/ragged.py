"""Rows of different length, as values and offsets, and how text becomes such rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import UserError

_COMMA, _ZERO, _NINE = ord(","), ord("0"), ord("9")
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
        # Position in `values` of each value taken: its own number, shifted row by row.
        shift = np.repeat(ends - offsets[1:], lengths)
        return Ragged(self.values[np.arange(offsets[-1]) + shift], offsets)


def parse_sequences(text: pa.Array, column: str, file: str, rows: np.ndarray) -> Ragged:
    """Comma-joined non-negative integers to ragged rows; null and '' are empty rows.

    Vectorised over the bytes of the whole array. `rows` are the row numbers of `text` in `file`,
    counted from 0; raises UserError with the row and the value of the first bad token.
    """
    text = pc.fill_null(text.cast(pa.large_string()), "")
    row_offsets = np.frombuffer(text.buffers()[1], np.int64)[text.offset :][: len(text) + 1]
    data = text.buffers()[2]
    raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    raw = raw[row_offsets[0] : row_offsets[-1]]
    row_offsets = row_offsets - row_offsets[0]
    starts, ends = _token_bounds(raw, row_offsets)
    digits = ends - starts
    is_digit = (raw >= _ZERO) & (raw <= _NINE)
    if (
        digits.min(initial=1) < 1
        or digits.max(initial=1) > _MOST_DIGITS
        or not (is_digit | (raw == _COMMA)).all()
    ):
        _refuse_first_bad_token(text, column, file, rows)
    values = np.zeros(len(starts), np.int64)
    for place in range(int(digits.max(initial=0))):
        has_place = digits > place
        values[has_place] += (raw[ends[has_place] - 1 - place] - np.int64(_ZERO)) * 10**place
    offsets = np.searchsorted(starts, row_offsets).astype(np.int64)
    return Ragged(narrow(values), offsets)


def narrow(values: np.ndarray) -> np.ndarray:
    """Non-negative integers in the smallest unsigned type that holds them all."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))), copy=False)


def _token_bounds(raw: np.ndarray, row_offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end byte of each token; an empty token has start >= end."""
    commas = np.flatnonzero(raw == _COMMA)
    is_filled = row_offsets[1:] > row_offsets[:-1]
    starts = np.concatenate((row_offsets[:-1][is_filled], commas + 1))
    ends = np.concatenate((row_offsets[1:][is_filled], commas))
    return np.sort(starts, kind="stable"), np.sort(ends, kind="stable")


def _refuse_first_bad_token(text: pa.Array, column: str, file: str, rows: np.ndarray) -> None:
    for row, raw in zip(rows, text.cast(pa.large_binary()).to_pylist()):
        sequence = raw.decode(errors="backslashreplace")
        for token in sequence.split(",") if sequence else []:
            if not (token.isascii() and token.isdigit()) or len(token) > _MOST_DIGITS:
                raise UserError(
                    f"{file}: column {column!r}, row {row}: token {token!r} is not a "
                    f"non-negative integer of at most {_MOST_DIGITS} digits; a sequence is such "
                    f"integers joined by commas, for example 12,7,301"
                )
    raise AssertionError("the vectorised check and the plain one disagree")
