"""Keys of rows and sequences: which occur more than once, and in two tables, in bounded memory.

Only keys whose first bits are 0 are kept, fewer of them as a table grows. Equal rows have equal
keys, so all of them are kept or none, and shares among the kept rows are those of all.
"""

import numba
import numpy as np

from ..common.hashing import hashed

_PRIME, _BASIS = np.uint64(0x100000001B3), np.uint64(0xCBF29CE484222325)


class Keys:
    """The keys of a table's rows that are kept, at most `limit` of them."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.limit = limit
        self.bits = 0
        self.kept: list[np.ndarray] = []

    def add(self, keys: np.ndarray) -> None:
        """Take in uint64 [rows]."""
        self.kept.append(_with_zeros(keys, self.bits))
        while sum(map(len, self.kept)) > self.limit:
            self.bits += 1
            self.kept = [self.at(self.bits)]

    def joined(self, other: "Keys") -> "Keys":
        """The keys of this table's rows and of the other's."""
        both = Keys(self.limit)
        both.bits = max(self.bits, other.bits)
        for keys in (self, other):
            both.add(keys.at(both.bits))
        return both

    def at(self, bits: int) -> np.ndarray:
        """Those whose first `bits` bits are 0, uint64 [rows kept]."""
        return _with_zeros(np.concatenate([np.empty(0, np.uint64), *self.kept]), bits)


def repeated_share(keys: Keys) -> float | None:
    """The share of rows whose key another row of the table has as well; None without rows."""
    _, counts = np.unique(keys.at(keys.bits), return_counts=True)
    return float(counts[counts > 1].sum() / counts.sum()) if len(counts) else None


def shared_share(keys: Keys, other: Keys) -> float | None:
    """The share of rows whose key a row of the `other` table has as well; None without rows."""
    bits = max(keys.bits, other.bits)
    own = keys.at(bits)
    return float(np.isin(own, other.at(bits)).mean()) if len(own) else None


def _with_zeros(keys: np.ndarray, bits: int) -> np.ndarray:
    return keys[keys >> np.uint64(64 - bits) == 0] if bits else keys


@numba.njit(nogil=True)
def sequence_keys(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """A key of each ragged row, uint64 [rows]: FNV-1a over its values, then mixed."""
    keys = np.empty(len(offsets) - 1, np.uint64)
    for row in range(len(keys)):
        key = _BASIS
        for i in range(offsets[row], offsets[row + 1]):
            key = (key ^ np.uint64(values[i])) * _PRIME
        keys[row] = hashed(key)
    return keys


@numba.njit(nogil=True)
def row_keys(values: np.ndarray) -> np.ndarray:
    """A key of each row of unsigned integers [rows, columns], uint64 [rows]."""
    keys = np.empty(len(values), np.uint64)
    for row in range(len(keys)):
        key = _BASIS
        for column in range(values.shape[1]):
            key = hashed(key ^ np.uint64(values[row, column]))
        keys[row] = key
    return keys
