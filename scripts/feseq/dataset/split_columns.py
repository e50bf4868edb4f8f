"""The columns by which rows are split: times as numbers in their order, groups as hashes."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from ..common.errors import UserError
from ..raw.reading import RawTable
from .raw_text import as_text

logger = logging.getLogger(__name__)

# Rows of one read: 16 MB of sequences of 500 events.
_BATCH_ROWS = 8_192
# Texts that are ordered in memory; a column of sequences has one a row.
_MOST_TEXTS = 2_000_000


@dataclass(frozen=True)
class Times:
    """A row's time, int64 or float64 [rows], in the order of time; `text` writes one."""

    key: np.ndarray
    text: Callable[[float], str]


def read_times(file: RawTable, column: str) -> Times:
    """The values of a column as times: numbers, dates and timestamps, or texts.

    Texts are ordered as numbers if each is one, else as texts. Raises UserError if the column is
    missing, a value is missing, or there is no order.
    """
    places: dict[str, int] = {}
    parts = [np.empty(0, np.int64)]
    kind: pa.DataType = None
    for first_row, values in _values(file, column, "time"):
        kind = values.type
        _check_none_missing(file, values, column, first_row)
        if _is_text(kind):
            parts.append(_place_texts(file, values, column, places))
        else:
            parts.append(_numbers(file, values, column))
    key = np.concatenate(parts[1:] or parts)
    if places:
        words = list(places)
        order, is_number = _order(words)
        if is_number:
            return Times(order[key], lambda value: words[int(np.argmax(order == value))])
        by_rank = sorted(words)
        return Times(order[key], lambda value: repr(by_rank[int(value)]))
    if kind is not None and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        unit = "s" if pa.types.is_date(kind) else kind.unit
        return Times(key, lambda value: str(np.array(int(value), f"M8[{unit}]")))
    return Times(key, lambda value: f"{value:.12g}")


def read_groups(file: RawTable, column: str, seed: int) -> np.ndarray:
    """A hash of each row's group, uint64 [rows].

    Groups are equal where the values' texts are, or their lists of integers. A row without a value,
    or with an empty one, is a group of its own. 64 bits keep a hundred million groups apart but for
    a chance of 1 in 3,000.
    """
    random = np.random.default_rng([seed, 1])
    hashes, alone = [np.empty(0, np.uint64)], 0
    for _, values in _values(file, column, "group"):
        try:
            bounds, data = _bytes_of(values)
        except pa.ArrowException:
            raise UserError(
                f"{file.location}: column {column!r} has type {values.type}, and no group can be "
                f"told by it; name a column of text, numbers or lists of integers in "
                f"sampling.split.group"
            ) from None
        found = _hashes(bounds, data, seed)
        is_missing = np.diff(bounds) == 0
        missing = int(is_missing.sum())
        found[is_missing] = random.integers(0, 1 << 64, missing, np.uint64)
        alone += missing
        hashes.append(found)
    if alone:
        logger.warning(
            "%s: %s rows have no %s: each counts as a group of its own",
            file.location,
            f"{alone:,}",
            column,
        )
    return np.concatenate(hashes)


def _values(file: RawTable, column: str, role: str) -> Iterator[tuple[int, pa.Array]]:
    if column not in file.schema_arrow.names:
        raise UserError(
            f"{file.location}: there is no column {column!r}, which sampling.split.{role} names; "
            f"the file has {', '.join(map(repr, file.schema_arrow.names[:8]))}, ..."
        )
    for first_row, batch in file.stream([column], _BATCH_ROWS):
        values = batch.column(0)
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        yield first_row, values


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _check_none_missing(file: RawTable, values: pa.Array, column: str, first_row: int) -> None:
    is_missing = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    if is_missing.any():
        raise UserError(
            f"{file.where(first_row)}: column {column!r} is missing in {int(is_missing.sum()):,} "
            f"of the rows {first_row:,} to {first_row + len(values) - 1:,}, first row "
            f"{first_row + int(np.argmax(is_missing))}; sampling.split.time needs the time of "
            f"every row: fill the column, or name another one"
        )


def _numbers(file: RawTable, values: pa.Array, column: str) -> np.ndarray:
    kind = values.type
    is_float = pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    try:
        if pa.types.is_date(kind):
            values = values.cast(pa.timestamp("s"))
        elif pa.types.is_boolean(kind):
            values = values.cast(pa.int8())
        return values.cast(pa.float64() if is_float else pa.int64()).to_numpy()
    except pa.ArrowException:
        raise UserError(
            f"{file.location}: column {column!r} has type {kind}, which has no order in time; name "
            f"a column of numbers, timestamps or text in sampling.split.time"
        ) from None


def _place_texts(
    file: RawTable, values: pa.Array, column: str, places: dict[str, int]
) -> np.ndarray:
    """Each text's place in `places`, to which new ones are added."""
    encoded = values.dictionary_encode()
    try:
        words = encoded.dictionary.to_pylist()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file.location}: column {column!r} holds bytes that are not UTF-8 text ({error}); "
            f"write it as UTF-8"
        ) from None
    place = np.array([places.setdefault(word, len(places)) for word in words], np.int64)
    if len(places) > _MOST_TEXTS:
        raise UserError(
            f"{file.location}: column {column!r} has over {_MOST_TEXTS:,} different texts; as "
            f"sampling.split.time name a column of numbers or timestamps, or of fewer texts"
        )
    return place[encoded.indices.to_numpy()]


def _order(words: list[str]) -> tuple[np.ndarray, bool]:
    """What each word is ordered by, and whether that is its number."""
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.array([math.nan])
    if np.isfinite(numbers).all():
        return numbers, True
    rank = np.empty(len(words), np.int64)
    rank[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words))
    return rank, False


def _bytes_of(values: pa.Array) -> tuple[np.ndarray, memoryview]:
    """Bytes of each value, data[bounds[i]:bounds[i + 1]]: its text, or its list of integers.

    None where the value is missing or empty. Raises ArrowException for values of other types.
    """
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        events = values.flatten()
        if not pa.types.is_integer(events.type) or events.null_count:
            raise pa.ArrowInvalid("not a list of integers")
        numbers = np.ascontiguousarray(events.to_numpy(zero_copy_only=False))
        bounds = np.concatenate([[0], np.cumsum(lengths)]) * numbers.itemsize
        return bounds, numbers.view(np.uint8).data
    texts = pc.fill_null(as_text(values), "")
    bounds = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
    data = texts.buffers()[2]
    return bounds, memoryview(data if data is not None else b"")


def _hashes(bounds: np.ndarray, data: memoryview, seed: int) -> np.ndarray:
    digest = xxhash.xxh3_64_intdigest
    hashes = (digest(data[start:stop], seed) for start, stop in pairwise(bounds.tolist()))
    return np.fromiter(hashes, np.uint64, len(bounds) - 1)
