"""One pass over a table: counts over all of its rows, and a sample of them."""

from collections.abc import Iterable
from itertools import chain

import numpy as np
import pandas as pd

from ..common.errors import UserError
from ..common.hashing import GOLDEN, hashed
from ..common.prefetch import prefetch_map
from ..common.progress import Progress
from ..common.ragged import Ragged
from ..features.encoding import TokenLookup
from ..features.feature_map import OUT_OF_VOCABULARY, FeatureMap
from ..raw.text import MEANS_MISSING
from ..storage.block import Block
from ..storage.categories import ByCode, codes_of, tokens_of
from ..storage.table import Table

# Rows of the sample at most, at equal distances in the table.
SAMPLE_ROWS = 100_000
# The starts of the bins of lengths.
LENGTHS = np.array([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000])
# Equal parts of the raw file, in its order.
PLACES = 20
# Shorter sequences are often equal by chance, and have no key.
LEAST_EVENTS = 5
# Steps from one event to the next that tell whether histories are newest first.
_TELLING_STEPS = 20


class Counts:
    """Counts of one pass over a table.

    `groups` by categorical column (0 is missing, then come its `words`), by "length of" a sequence
    (the bins LENGTHS), and by None (the place in the file), each int64 [values, 2]: rows and their
    clicks.
    `numbers` int64 [2, columns]: missing and infinite values. `events` by sequence: all, those of
    the sample, and those of the sample that the feature map does not have. `longest` by sequence.
    `timed` int64 [4]: events that have times, and those of them that are later than their row;
    steps from an event to the next, forward in time and back.
    `keys` of the rows ("") and of each sequence: equal rows have equal keys, and only keys whose
    first `bits` bits are 0 are kept. `sample` [rows, columns] and its `label` [rows] or [0].
    """

    def __init__(self, table: Table, feature_map: FeatureMap, bits: int, threads: int) -> None:
        self.table, self.bits = table, bits
        self.rows = self.clicks = 0
        self.lookups = {field.column: TokenLookup(field) for field in feature_map.sequences}
        self.words = {name: table.vocabulary(name) for name in table.categorical_columns}
        self._place_of = {name: ByCode.places(words) for name, words in self.words.items()}
        # Shared by all blocks: a type per block would hold all words again.
        self._types = {name: pd.CategoricalDtype(words) for name, words in self.words.items()}
        derived = {f"{what} of {name}" for name in self.lookups for what in ("length", "newest")}
        if same := derived.intersection([*table.numeric_columns, *self.words]):
            raise UserError(
                f"column {min(same)!r} has the name of a fact of a sequence; rename the column"
            )
        sizes: dict[str | None, int] = {None: PLACES}
        sizes |= {name: len(words) + 1 for name, words in self.words.items()}
        sizes |= {f"length of {name}": len(LENGTHS) for name in self.lookups}
        self.groups = {name: np.zeros((size, 2), np.int64) for name, size in sizes.items()}
        self.numbers = np.zeros((2, len(table.numeric_columns)), np.int64)
        self.events = {name: np.zeros(3, np.int64) for name in self.lookups}
        self.longest = dict.fromkeys(self.lookups, 0)
        self._event_time, self.timed = feature_map.event_time, np.zeros(4, np.int64)
        self._rows_said_missing = {
            name: dict.fromkeys(_said_missing(table.vocabulary(name)), 0) for name in self.lookups
        }
        step = -(-table.rows // SAMPLE_ROWS) or 1
        samples, labels, kept = [], [np.empty(0, np.uint8)], []
        describing = Progress("described", table.rows)
        # A table without rows still gives the sample its columns.
        blocks = chain([table.read(0, 0)], table.blocks())
        for block, keys in prefetch_map(self._keyed, blocks, threads):
            sampled = np.arange(-self.rows % step, len(block), step)
            samples.append(self._sampled(block, sampled))
            if block.label is not None:
                labels.append(block.label[sampled])
            kept.append(keys)
            self._count(block, sampled)
            describing.advance(len(block))
        self.sample = pd.concat(samples)
        self.label = np.concatenate(labels)
        self.keys = {name: np.concatenate([keys[name] for keys in kept]) for name in kept[0]}

    def _count(self, block: Block, sampled: np.ndarray) -> None:
        clicked = np.zeros(len(block), bool) if block.label is None else block.label == 1
        self.rows += len(block)
        self.clicks += int(clicked.sum())
        self.numbers += [np.isnan(block.numeric).sum(0), np.isinf(block.numeric).sum(0)]
        # If a longer file has replaced the raw file, rows can lie behind the end on record.
        raw_rows = max(1, int(self.table.source.get("rows", 0)))
        index: dict[str | None, np.ndarray] = {}
        index[None] = np.minimum(block.row * PLACES // raw_rows, PLACES - 1)
        index.update(self._places(block.categorical))
        for name, lookup in self.lookups.items():
            ragged = block.sequences[name]
            index[f"length of {name}"] = np.searchsorted(LENGTHS, ragged.lengths, "right") - 1
            seen = ragged.take(sampled)
            unknown = lookup(seen.values) == OUT_OF_VOCABULARY
            self.events[name] += [len(ragged.values), len(unknown), unknown.sum()]
            said = self._rows_said_missing[name]
            for word in said:
                (token,) = tokens_of(codes_of([word])).astype(np.uint64)
                places = np.flatnonzero(seen.values == token)
                said[word] += len(np.unique(np.searchsorted(seen.offsets, places, "right")))
            self.longest[name] = max(self.longest[name], int(ragged.lengths.max(initial=0)))
        if self._event_time is not None and block.time is not None:
            times = block.sequences[self._event_time]
            later = times.values.astype(np.int64) > np.repeat(block.time, times.lengths)
            step = np.diff(times.values.astype(np.int64))
            first = times.offsets[(times.offsets > 0) & (times.offsets < len(times.values))]
            step[first - 1] = 0  # from one row to another
            self.timed += [len(later), later.sum(), (step > 0).sum(), (step < 0).sum()]
        for group, values in index.items():
            counts = self.groups[group]
            for i, rows in enumerate((slice(None), clicked)):
                counts[:, i] += np.bincount(values[rows], minlength=len(counts))

    @property
    def later_share(self) -> float:
        """The share of the events that are later than their row, 0 without times."""
        events, later = self.timed[:2].tolist()
        return later / max(1, events)

    @property
    def backward_share(self) -> float:
        """The share of the steps between events that go back in time, 0 if there are few."""
        forward, back = self.timed[2:].tolist()
        return back / (forward + back) if forward + back >= _TELLING_STEPS else 0

    def said_missing(self, column: str) -> dict[str, float]:
        """The share of rows with each text that means missing, as a category or an event."""
        if column in self._rows_said_missing:
            said, rows = self._rows_said_missing[column], len(self.sample)
        else:
            places = {word: i for i, word in enumerate(self.words[column], 1)}
            counts = self.groups[column][:, 0].tolist()
            said, rows = {w: counts[places[w]] for w in _said_missing(places)}, self.rows
        return {word: count / max(1, rows) for word, count in said.items()}

    def _sampled(self, block: Block, rows: np.ndarray) -> pd.DataFrame:
        """These rows: numeric columns, categories, and of each sequence length and newest event."""
        sample = pd.DataFrame(block.numeric[rows], columns=list(self.table.numeric_columns))
        for name, places in self._places(block.categorical[rows]).items():
            sample[name] = pd.Categorical.from_codes(places - 1, dtype=self._types[name])
        for name in self.lookups:
            newest = block.sequences[name].take(rows, 1)
            sample[f"length of {name}"] = block.sequences[name].lengths[rows]
            sample[f"newest of {name}"] = pd.NA
            sample.loc[newest.lengths > 0, f"newest of {name}"] = newest.values
        return sample

    def _places(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """By categorical column, the place of each category in `words` from 1 on, 0 if missing."""
        return {name: find(codes[:, i]) for i, (name, find) in enumerate(self._place_of.items())}

    def _keyed(self, block: Block) -> tuple[Block, dict[str, np.ndarray]]:
        """A block, and those of its keys, uint64, that are kept."""
        keys = {name: _sequence_keys(block.sequences[name]) for name in self.lookups}
        # The bits of the numeric values: equal raw values have equal bits.
        numbers = block.numeric.view(np.uint32)
        columns = np.column_stack([numbers, block.categorical, *keys.values()]).astype(np.uint64)
        for name, key in keys.items():
            keys[name] = key[block.sequences[name].lengths >= LEAST_EVENTS]
        keys[""] = hashed((columns * _weights(columns.shape[1])).sum(axis=1))
        low = np.uint64(2 ** (64 - self.bits) - 1)
        return block, {name: key[key <= low] for name, key in keys.items()}


def _said_missing(words: Iterable[str]) -> list[str]:
    """Those of the words that mean a missing value."""
    return [word for word in words if word.lower() in MEANS_MISSING]


def _sequence_keys(ragged: Ragged) -> np.ndarray:
    """A key of each row, uint64 [rows]: the sum of its values, each times its place's weight."""
    place = np.arange(len(ragged.values)) - np.repeat(ragged.offsets[:-1], ragged.lengths)
    weights = _weights(int(ragged.lengths.max(initial=0)))
    ends = np.cumsum((ragged.values.astype(np.uint64) + np.uint64(1)) * weights[place])
    sums = np.concatenate([np.zeros(1, np.uint64), ends])[ragged.offsets]
    return hashed(sums[1:] - sums[:-1])


def _weights(count: int) -> np.ndarray:
    """Random odd numbers, uint64 [count]."""
    return hashed(np.arange(count, dtype=np.uint64) * GOLDEN) | np.uint64(1)
