"""Comparisons of many millions of IDs, exact and in little memory."""

from collections.abc import Iterator

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_PARTS = 16


def repeated_ids(ids: pa.ChunkedArray) -> tuple[int, str | None]:
    """The number of IDs that occur more than once in a string column, and one of them."""
    repeated, example = 0, None
    for in_part in parts_by_hash(ids):
        part = ids.filter(in_part)
        if pc.count_distinct(part, mode="all").as_py() < len(part):
            counts = pc.value_counts(part)
            twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
            repeated, example = repeated + len(twice), example or twice[0].as_py()
    return repeated, example


def parts_by_hash(ids: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """Masks bool [rows] that cut `ids` into parts by hash: equal IDs are in the same part.

    Arrow's hash tables need several times the memory of their IDs; one part at a time is cheap.
    """
    part = np.concatenate([_hash(chunk) for chunk in ids.chunks] or [np.empty(0, np.uint8)])
    for number in range(_PARTS):
        yield part == number


def _hash(chunk: pa.StringArray) -> np.ndarray:
    bounds = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset :][: len(chunk) + 1]
    data = chunk.buffers()[2]
    raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return _fnv(raw, bounds)


@numba.njit(nogil=True)
def _fnv(raw: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Part of each string by its FNV-1a hash (32 bits)."""
    part = np.empty(len(bounds) - 1, np.uint8)
    for row in range(len(part)):
        value = np.uint32(2166136261)
        for i in range(bounds[row], bounds[row + 1]):
            value = np.uint32((value ^ raw[i]) * np.uint32(16777619))
        part[row] = (value >> np.uint32(16)) % np.uint32(_PARTS)
    return part
