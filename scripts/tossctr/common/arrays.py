"""Ragged arrays (rows of different lengths), and a hash of 64-bit integers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba.extending import register_jitable

# An odd number near 2^64 / golden ratio, whose multiples are spread evenly (Knuth, TAOCP 3, 6.4).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, stored one after another in the array `values`.

    Row i is values[offsets[i]:offsets[i+1]]; `offsets` is int64 [rows + 1].

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
        """Copy the rows at the indices `rows`, in this order.

        With `newest`, a copy keeps at most the last `newest` values of each row.
        """
        ends = self.offsets[1:][rows]
        lengths = ends - self.offsets[:-1][rows]
        if newest is not None:
            lengths = np.minimum(lengths, newest)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        values = np.empty(offsets[-1], self.values.dtype)
        _copy_rows(self.values, ends - lengths, offsets[:-1], lengths, values)
        return Ragged(values, offsets)

    def slice(self, start: int, stop: int) -> "Ragged":
        """Rows `start` to `stop` (exclusive), without copying their values."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    @classmethod
    def concatenate(cls, pieces: Sequence["Ragged"]) -> "Ragged":
        """Concatenate the rows of all pieces, in order."""
        lengths = np.concatenate([piece.lengths for piece in pieces])
        values = np.concatenate([piece.values for piece in pieces])
        return cls(values, np.concatenate(([0], np.cumsum(lengths))))


def narrow_dtype(values: np.ndarray) -> np.ndarray:
    """Cast non-negative integers to the smallest unsigned dtype that holds all of them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))), copy=False)


@numba.njit(nogil=True)
def _copy_rows(
    values: np.ndarray,
    starts: np.ndarray,
    slots: np.ndarray,
    lengths: np.ndarray,
    copied: np.ndarray,
) -> None:
    """For each row i, copy lengths[i] values from values[starts[i]:] to copied[slots[i]:]."""
    for row in range(len(starts)):
        length = lengths[row]
        # With both slices indexed by `i`, the compiler emits a block copy.
        source = values[starts[row] : starts[row] + length]
        target = copied[slots[row] : slots[row] + length]
        for i in range(length):
            target[i] = source[i]


@register_jitable
def hash64(bits: Any) -> Any:
    """Hash a uint64, or each element of a uint64 array, to another uint64.

    Different numbers have different hashes. This is the last step of the generator SplitMix64
    (Steele et al., OOPSLA 2014).
    """
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def hash_below(number: np.ndarray, limit: int) -> np.ndarray:
    """Hash each number, such as a row number, to an int64 from 0 to `limit` - 1."""
    return (hash64(number.astype(np.uint64) * GOLDEN) % np.uint64(limit)).astype(np.int64)
