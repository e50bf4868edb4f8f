"""One pass over an H5 table: what is counted over all of its rows, and a sample of them."""

from collections.abc import Iterator

import numpy as np

from ..common.ahead import map_ahead
from ..common.progress import progress
from ..common.ragged import Ragged
from ..dataset.block import Block
from ..dataset.encoding import TokenLookup
from ..dataset.feature_map import OUT_OF_VOCABULARY, FeatureMap
from ..dataset.store import H5Table
from .keys import Keys, row_keys, sequence_keys

# Rows of the sample at most, at equal distances in the table.
SAMPLE_ROWS = 100_000
# A length belongs to the last of these that it reaches.
LENGTHS = np.array([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000])
# Stretches that the raw file is cut into.
STRETCHES = 20
# Shorter sequences are alike by chance, and have no key.
LEAST_EVENTS = 5


class Categories:
    """Codes of categories that hold in all tables; 0 is missing, the train table's come next."""

    def __init__(self, names: list[str]) -> None:
        self.codes: dict[str, dict[str | None, int]] = {name: {None: 0} for name in names}

    def of_table(self, table: H5Table) -> list[np.ndarray]:
        """For each column, the common code of each of the table's own codes."""
        return [
            np.array([0, *(codes.setdefault(w, len(codes)) for w in table.vocabulary(name)[1:])])
            for name, codes in self.codes.items()
        ]

    def words(self, name: str) -> list[str | None]:
        """The raw string of each code, None for the missing one."""
        return list(self.codes[name])


class TablePass:
    """What one pass over a table finds.

    From all rows: `rows`, `clicks`; `missing` and `infinite` int64 [columns]; by sequence `events`,
    the number of all, and `longest`; int64 [., 3], rows, those of them whose label may be looked
    at, and the clicks of these, as `by_code` of each categorical column, `by_length` of each
    sequence and `by_stretch` of the raw file; `row_keys` and, by sequence, `sequence_keys`. Rows
    kept apart to judge are told by their number and number of clicks alone.

    From the rows in the sample: `sample` float32 [rows, columns], NaN where missing; `label` uint8
    [rows]; by sequence `sampled_events` and how many of these the feature map does not know,
    `unseen_events`.

    The columns: numeric ones, categorical ones as common codes, and for each sequence its length
    and its newest event.
    """

    def __init__(self, table: H5Table, categories: Categories, feature_map: FeatureMap) -> None:
        self.table = table
        self.names = [field.column for field in feature_map.sequences]
        self.lookups = [TokenLookup(field) for field in feature_map.sequences]
        self.code_of = categories.of_table(table)
        self.step = -(-table.rows // SAMPLE_ROWS) or 1
        self.raw_rows = max(1, int(table.source.get("rows", 0)))
        sequences = len(self.names)
        columns = len(table.numeric_columns) + len(table.categorical_columns) + 2 * sequences
        self.rows = self.clicks = 0
        self.missing = np.zeros(columns, np.int64)
        self.infinite = np.zeros(len(table.numeric_columns), np.int64)
        self.events = np.zeros(sequences, np.int64)
        self.longest = np.zeros(sequences, np.int64)
        self.by_code = [np.zeros((codes.max() + 1, 3), np.int64) for codes in self.code_of]
        self.by_length = np.zeros((sequences, len(LENGTHS), 3), np.int64)
        self.by_stretch = np.zeros((STRETCHES, 3), np.int64)
        self.row_keys, self.sequence_keys = Keys(), [Keys() for _ in self.names]
        self.sampled_events = np.zeros(sequences, np.int64)
        self.unseen_events = np.zeros(sequences, np.int64)
        self._samples: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def run(self, threads: int) -> "TablePass":
        """Read the whole table, block by block."""
        with progress("described", self.table.rows) as describing:
            for block, codes, keys in map_ahead(self._with_keys, self.table.blocks(), threads):
                self._add(block, codes, keys)
                describing.advance(len(block))
        return self

    @property
    def sample(self) -> np.ndarray:
        """float32 [sampled rows, columns]."""
        return np.concatenate([np.empty((0, len(self.missing)), np.float32), *self._samples])

    @property
    def label(self) -> np.ndarray:
        """uint8 [sampled rows], or [0] where the table has none."""
        return np.concatenate([np.empty(0, np.uint8), *self._labels])

    def _with_keys(self, block: Block) -> tuple[Block, np.ndarray, list[np.ndarray]]:
        """A block, its common codes [rows, K], and the keys of its sequences and its rows."""
        codes = np.empty(block.categorical.shape, np.uint32)
        for i, code_of in enumerate(self.code_of):
            codes[:, i] = code_of[block.categorical[:, i]]
        keys = [_keys(block.sequences[name]) for name in self.names]
        # The bits of the numeric values: what is alike in raw values is alike in these.
        parts = [block.numeric.view(np.uint32).astype(np.uint64), codes.astype(np.uint64)]
        every = np.column_stack([*parts, *keys])
        return block, codes, [*keys, row_keys(every)]

    def _add(self, block: Block, codes: np.ndarray, keys: list[np.ndarray]) -> None:
        label = np.zeros(len(block), np.uint8) if block.label is None else block.label
        known = 0 if block.label is None else max(0, self.table.choosing_rows - self.rows)
        numeric, start = block.numeric, len(block.numeric[0]) if len(block) else 0
        self.rows += len(block)
        self.clicks += int(label.sum())
        self.missing[:start] += np.isnan(numeric).sum(0)
        self.infinite += np.isinf(numeric).sum(0)
        self.missing[start : start + len(self.by_code)] += (codes == 0).sum(0)
        for i, counts in enumerate(self.by_code):
            counts += _counted(codes[:, i], label, known, len(counts))
        # Rows of a file that has been replaced by a longer one would lie behind its end.
        stretch = np.minimum(block.row * STRETCHES // self.raw_rows, STRETCHES - 1)
        self.by_stretch += _counted(stretch, label, known, STRETCHES)
        sampled = np.arange(-(self.rows - len(block)) % self.step, len(block), self.step)
        columns = [numeric[sampled], np.where(codes == 0, np.nan, codes)[sampled]]
        for i, name in enumerate(self.names):
            columns += self._add_sequence(
                i, block.sequences[name], (label, known), keys[i], sampled
            )
        self.row_keys.add(keys[-1])
        self._samples.append(np.column_stack(columns).astype(np.float32))
        self._labels.append(label[sampled])

    def _add_sequence(
        self,
        i: int,
        ragged: Ragged,
        labels: tuple[np.ndarray, int],
        keys: np.ndarray,
        sampled: np.ndarray,
    ) -> Iterator[np.ndarray]:
        """Count; yields length and newest event of the sampled rows, float64 [rows]."""
        lengths = ragged.lengths
        empty = len(self.missing) - 2 * (len(self.names) - i)
        self.missing[empty : empty + 2] += (lengths == 0).sum()
        self.events[i] += len(ragged.values)
        self.longest[i] = max(self.longest[i], lengths.max(initial=0))
        bins = np.searchsorted(LENGTHS, lengths, side="right") - 1
        self.by_length[i] += _counted(bins, *labels, len(LENGTHS))
        self.sequence_keys[i].add(keys[lengths >= LEAST_EVENTS])
        rows = ragged.take(sampled)
        self.sampled_events[i] += len(rows.values)
        self.unseen_events[i] += (self.lookups[i](rows.values) == OUT_OF_VOCABULARY).sum()
        yield lengths[sampled].astype(np.float64)
        newest = np.full(len(rows), np.nan)
        newest[rows.lengths > 0] = rows.values[rows.offsets[1:][rows.lengths > 0] - 1]
        yield newest


def _keys(ragged: Ragged) -> np.ndarray:
    return sequence_keys(ragged.values, ragged.offsets)


def _counted(index: np.ndarray, label: np.ndarray, known: int, size: int) -> np.ndarray:
    """By index, int64 [size, 3]: rows, the first `known` of them, and the clicks of these."""
    index = index.astype(np.int64, copy=False)
    first = index[:known]
    parts = (index, first, first[label[:known] == 1])
    return np.column_stack([np.bincount(part, minlength=size) for part in parts])
