"""The values of raw columns as the H5 format keeps them: batch by batch, block by block."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError
from ..config.columns import Columns
from ..raw.text import as_text, checked_text
from .block import Block
from .categories import MISSING_CODE, codes_of, plain_words
from .sequence_parser import parse_sequences

# The raw strings of some rows' categories and text tokens, by column.
RawStrings = Mapping[str, Sequence[str]]

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def convert_batch(
    batch: pa.RecordBatch, rows: np.ndarray, columns: Columns, path: str, order: np.ndarray
) -> tuple[Block, RawStrings]:
    """Convert the features of `batch`, whose rows have the numbers `rows` in the raw file `path`.

    Row i of the block is row order[i] of the batch; the strings are of its categories, and the
    tokens of its sequences that are not integers. It uses only its arguments, so batches can be
    converted in parallel.
    """
    numeric = np.empty((len(columns.numeric), len(order)), np.float32)
    for i, name in enumerate(columns.numeric):
        np.take(as_float32(batch.column(name)), order, out=numeric[i])
    categorical = np.empty((len(order), len(columns.categorical)), np.uint64)
    words: dict[str, list[str]] = {}
    for i, name in enumerate(columns.categorical):
        codes, words[name] = _as_codes(batch.column(name), name, path)
        categorical[:, i] = codes[order]
    sequences = {}
    for name in columns.ragged:
        times = name == columns.event_time
        sequences[name], words[name] = parse_sequences(
            batch.column(name), name, path, rows, order, times=times, separator=columns.separator
        )
    for name, sequence in sequences.items():
        first = columns.ragged[0]
        unequal = np.flatnonzero(sequence.lengths != sequences[first].lengths)
        if len(unequal):
            i = unequal[0]
            raise UserError(
                f"{path}: row {rows[order][i]}: sequence {first!r} has "
                f"{sequences[first].lengths[i]} events, {name!r} has {sequence.lengths[i]}; "
                f"sequences used together must be equally long"
            )
    time = None
    if columns.row_time:
        time = as_seconds(batch.column(columns.row_time), columns.row_time, path, rows)[order]
    by_row = np.ascontiguousarray(numeric.T)
    return Block(by_row, categorical, sequences, rows[order], time=time), words


def add_strings(known: dict[str, set[str]], words: RawStrings) -> None:
    """Add the raw strings of some rows to those known, by column."""
    for name, strings in words.items():
        known.setdefault(name, set()).update(strings)


def as_float32(column: pa.Array) -> np.ndarray:
    """A column of numbers as float32 [rows]; null becomes NaN."""
    if pa.types.is_decimal(column.type):
        # Arrow computes in the type that it casts to, and float32 would be a step off.
        column = column.cast(pa.float64(), safe=False)
    if not pa.types.is_float32(column.type):
        column = column.cast(pa.float32(), safe=False)
    return column.to_numpy(zero_copy_only=False)


def _as_codes(column: pa.Array, name: str, path: str) -> tuple[np.ndarray, list[str]]:
    """A column of categories as codes uint64 [rows], and its words."""
    encoded = as_text(column).dictionary_encode()
    words = checked_text(encoded.dictionary, name, path).to_pylist()
    # The last one stands for missing values.
    codes = np.append(codes_of(words), np.uint64(MISSING_CODE))
    places = encoded.indices
    if places.null_count:
        places = pc.fill_null(places, len(words))
    return codes[places.to_numpy()], plain_words(words)


def as_seconds(column: pa.Array, name: str, path: str, rows: np.ndarray) -> np.ndarray:
    """A column of times as int64 [rows]: integers as they are, timestamps in whole seconds.

    `rows` are the row numbers of `column` in the file; raises UserError for a time that is missing
    or negative.
    """
    is_timestamp = pa.types.is_timestamp(column.type)
    # What int64 cannot hold becomes negative, and is refused as such.
    counts = pc.fill_null(column.cast(pa.int64(), safe=False), -1).to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(counts < 0)
    if len(bad):
        raise UserError(
            f"{path}: column {name!r}, row {rows[bad[0]]}: the row's time is missing or negative; "
            f"every row needs a non-negative integer in the unit of the events' times, or a "
            f"timestamp from 1970 on: correct the column, or leave out `times` in the config"
        )
    return counts // _PER_SECOND[column.type.unit] if is_timestamp else counts
