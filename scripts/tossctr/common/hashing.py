"""A hash of 64-bit numbers, also for draws from a counter."""

from typing import Any

import numpy as np
from numba.extending import register_jitable

# An odd number near 2^64 / golden ratio, whose multiples are spread evenly (Knuth, TAOCP 3, 6.4).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@register_jitable
def hashed(bits: Any) -> Any:
    """Hash uint64, one or an array, one to one: the end of SplitMix64 (Steele, OOPSLA 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def hashed_below(number: np.ndarray, limit: int) -> np.ndarray:
    """The hash of each number, such as a row's in the raw file, below `limit`."""
    return (hashed(number.astype(np.uint64) * GOLDEN) % np.uint64(limit)).astype(np.int64)
