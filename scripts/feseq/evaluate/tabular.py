"""Rows as tables of fixed width, for models that cannot read a history.

The columns of a row, float32: its categories as indices of the feature map, its numeric values in
[0, 1], and for each history, of any length and not cut: how often each of the commonest codes
occurs; how recently each came last, as 1 / (events from its last occurrence to the end, itself
included), 0 where it never came; the number of events; the number of different codes.
"""

import logging
from collections.abc import Iterator

import numba
import numpy as np

from ..common.ahead import map_ahead
from ..common.progress import progress
from ..dataset.block import Block
from ..dataset.encoding import DEFAULT_INPUTS, EncodedRows, FeatureEncoder
from ..dataset.feature_map import OUT_OF_VOCABULARY, PADDING, FeatureMap
from ..dataset.store import H5Table

logger = logging.getLogger(__name__)

# A history's commonest codes, which have columns of their own.
COMMON_CODES = 60
# Categories of a column that are told apart; the last one stands for all rare ones.
MOST_CATEGORIES = 255
# Rows of one read: 4 million events at mean length 500.
BLOCK_ROWS = 8_192


class Features:
    """Makes the columns of any table's rows; `common_in` says what codes and categories are common.

    Raises UserError if `common_in`, or later another table, lacks a column of the feature map.
    """

    def __init__(
        self,
        feature_map: FeatureMap,
        common_in: H5Table,
        rows: int,
        *,
        threads: int = 1,
    ) -> None:
        self.feature_map = feature_map
        self.threads = threads
        context = DEFAULT_INPUTS.context_fields(feature_map)
        self.fields = (*feature_map.profile, *feature_map.targets, *context)
        self.histories = feature_map.sequences
        categories = [np.zeros(field.size, np.int64) for field in self.fields]
        codes = [np.zeros(field.size, np.int64) for field in self.histories]
        encoder = FeatureEncoder(feature_map, common_in)
        with progress("counted", rows) as counting:
            for block in self._blocks(common_in, rows):
                encoded = encoder.encode(block, np.arange(len(block)))
                for count, index in zip(categories, _categories(encoded).T):
                    count += np.bincount(index, minlength=len(count))
                for count, indices in zip(codes, self._indices(encoder, block)):
                    count += np.bincount(indices, minlength=len(count))
                counting.advance(len(block))
        self.kept = [_kept(field.column, n) for field, n in zip(self.fields, categories)]
        self.slots = [_slots(count) for count in codes]

    @property
    def width(self) -> int:
        """Columns of a row."""
        return self._first_of_histories + len(self.histories) * (2 * COMMON_CODES + 2)

    @property
    def categorical(self) -> int:
        """How many columns, the first ones, are indices of categories."""
        return len(self.fields)

    def blocks(self, table: H5Table, rows: int) -> Iterator[np.ndarray]:
        """The first `rows` rows of `table`, float32 [rows of a block, width], block by block."""
        encoder = FeatureEncoder(self.feature_map, table)
        blocks = self._blocks(table, rows)
        return map_ahead(lambda block: self._columns(encoder, block), blocks, self.threads)

    def matrix(self, table: H5Table, rows: int) -> np.ndarray:
        """The first `rows` rows of `table` at once, float32 [rows, width]."""
        matrix = np.empty((rows, self.width), np.float32)
        done = 0
        with progress("read", rows) as reading:
            for block in self.blocks(table, rows):
                matrix[done : done + len(block)] = block
                done += len(block)
                reading.advance(len(block))
        return matrix

    def _columns(self, encoder: FeatureEncoder, block: Block) -> np.ndarray:
        features = np.empty((len(block), self.width), np.float32)
        encoded = encoder.encode(block, np.arange(len(block)))
        indices = _categories(encoded)
        for i, kept in enumerate(self.kept):
            features[:, i] = kept[indices[:, i]]
        start = self._first_of_histories
        features[:, self.categorical : start] = encoded.numbers["minmax"]
        histories = zip(self.histories, self._indices(encoder, block), self.slots)
        for field, codes, slots in histories:
            stop = start + 2 * COMMON_CODES + 2
            offsets = block.sequences[field.column].offsets
            _describe(codes, offsets, slots, features[:, start:stop], COMMON_CODES)
            start = stop
        return features

    @property
    def _first_of_histories(self) -> int:
        return len(self.fields) + len(self.feature_map.numeric)

    def _blocks(self, table: H5Table, rows: int) -> Iterator[Block]:
        names = [field.column for field in self.histories]
        for start in range(0, rows, BLOCK_ROWS):
            yield table.read(start, min(start + BLOCK_ROWS, rows), names)

    def _indices(self, encoder: FeatureEncoder, block: Block) -> Iterator[np.ndarray]:
        """The codes of all events of each history, as indices of the feature map."""
        for field, lookup in zip(self.histories, encoder.sequences):
            yield lookup(block.sequences[field.column].values)


def _categories(encoded: EncodedRows) -> np.ndarray:
    """Indices of the categories, int64 [rows, fields]."""
    return np.concatenate([encoded.profile, encoded.target, encoded.context], axis=1)


def _kept(column: str, count: np.ndarray) -> np.ndarray:
    """Maps a category's index to itself, or to that of padding, which stands for all rare ones."""
    kept = np.arange(len(count))
    found = np.flatnonzero(count)
    if len(found) > MOST_CATEGORIES:
        rare = _commonest(count)[MOST_CATEGORIES - 1 :]
        kept[rare] = PADDING
        logger.warning(
            "column %r: the %d commonest of its %s categories are told apart, the others, in "
            "%.1f %% of the train rows, are not",
            column,
            MOST_CATEGORIES - 1,
            f"{len(found):,}",
            100 * count[rare].sum() / count.sum(),
        )
    return kept


def _slots(count: np.ndarray) -> np.ndarray:
    """Maps a code's index to its place among the commonest codes, -1 if it is none of them."""
    slots = np.full(len(count), -1, np.int64)
    known = count.copy()
    known[OUT_OF_VOCABULARY] = 0
    common = _commonest(known)[:COMMON_CODES]
    common = common[known[common] > 0]
    slots[common] = np.arange(len(common))
    return slots


def _commonest(count: np.ndarray) -> np.ndarray:
    """Indices by falling count, the lower index first among equals."""
    return np.argsort(-count, kind="stable")


@numba.njit(nogil=True)
def _describe(
    codes: np.ndarray, offsets: np.ndarray, slots: np.ndarray, described: np.ndarray, common: int
) -> None:
    """Fill the columns of one history, [rows, 2 * common + 2], as the module's docstring says."""
    described[:] = 0
    # The last row, counted from 1, in which a code was met.
    met = np.zeros(len(slots), np.int64)
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        different = 0
        for i in range(start, stop):
            code = codes[i]
            if met[code] != row + 1:
                met[code] = row + 1
                different += 1
            slot = slots[code]
            if slot >= 0:
                described[row, slot] += 1
                # Oldest first, so the newest of equal codes stays.
                described[row, common + slot] = stop - i
        for slot in range(common, 2 * common):
            if described[row, slot] > 0:
                described[row, slot] = 1 / described[row, slot]
        described[row, 2 * common] = stop - start
        described[row, 2 * common + 1] = different
