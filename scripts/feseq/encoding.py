"""Record batches of raw columns to blocks of the H5 format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns import Columns
from .errors import UserError
from .location import Location
from .ragged import Ragged, narrow, parse_sequences
from .raw import as_seconds, as_text
from .store import Block


@dataclass(frozen=True)
class LocalBlock:
    """A block whose categorical codes are places in `words[column]`, plus one; 0 = missing."""

    block: Block
    words: Sequence[Sequence[str]]


def encode_batch(
    batch: pa.RecordBatch, rows: np.ndarray, columns: Columns, path: Location, order: np.ndarray
) -> LocalBlock:
    """Encode the features of `batch`, whose rows have the numbers `rows` in the raw file `path`.

    The block's rows are those at the places `order` of the batch. Needs nothing but its arguments,
    so batches can be encoded side by side.
    """
    numeric = np.empty((len(columns.numeric), len(order)), np.float32)
    for i, name in enumerate(columns.numeric):
        np.take(_as_float32(batch.column(name)), order, out=numeric[i])
    categorical = np.empty((len(order), len(columns.categorical)), np.int64)
    words = []
    for i, name in enumerate(columns.categorical):
        encoded = as_text(batch.column(name)).dictionary_encode()
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        categorical[:, i] = codes[order]
        words.append(_words(encoded.dictionary, name, path))
    sequences = {
        name: parse_sequences(batch.column(name), name, str(path), rows, order)
        for name in columns.ragged
    }
    _check_parallel(sequences, path, rows[order])
    time = None
    if columns.row_time:
        time = as_seconds(batch.column(columns.row_time), columns.row_time, path, rows)[order]
    return LocalBlock(Block(numeric.T, categorical + 1, sequences, rows[order], time=time), words)


class Vocabularies:
    """Raw category -> code: the next free one when the category first occurs, block by block."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.codes: dict[str, dict[str, int]] = {name: {} for name in columns}

    def encode(self, local: LocalBlock) -> Block:
        """The block with codes that hold for the whole file."""
        categorical = np.empty_like(local.block.categorical)
        for i, (codes, words) in enumerate(zip(self.codes.values(), local.words)):
            code_of_place = np.array([0, *(codes.setdefault(w, len(codes) + 1) for w in words)])
            categorical[:, i] = code_of_place[local.block.categorical[:, i]]
        return replace(local.block, categorical=narrow(categorical))

    def words(self) -> dict[str, list[str]]:
        """Code -> raw string per column; code 0, missing, reads ''."""
        return {name: ["", *codes] for name, codes in self.codes.items()}


def _words(dictionary: pa.Array, column: str, path: Location) -> list[str]:
    try:
        words = dictionary.to_pylist()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: column {column!r} holds bytes that are not UTF-8 text ({error}); write it "
            f"anew as UTF-8"
        ) from None
    with_nul = [word for word in words if "\0" in word]
    if with_nul:
        raise UserError(
            f"{path}: column {column!r} holds a NUL byte, for example in {with_nul[0]!r}; remove "
            f"such bytes, H5 cannot keep them"
        )
    return words


def _as_float32(column: pa.Array) -> np.ndarray:
    """Null becomes NaN."""
    if not pa.types.is_float32(column.type):
        column = column.cast(pa.float32(), safe=False)
    return column.to_numpy(zero_copy_only=False)


def _check_parallel(sequences: Mapping[str, Ragged], path: Location, rows: np.ndarray) -> None:
    """Sequences and times describe the same events, so a row has the same length in each."""
    (first_name, first), *others = sequences.items()
    for name, other in others:
        unequal = np.flatnonzero(first.lengths != other.lengths)
        if len(unequal):
            i = unequal[0]
            raise UserError(
                f"{path}: row {rows[i]}: sequence {first_name!r} has {first.lengths[i]} events, "
                f"{name!r} has {other.lengths[i]}; sequences used together must be equally long"
            )
