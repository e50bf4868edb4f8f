"""One pass over a table: a sample of its rows, and keys that tell which rows are met again."""

from collections import Counter
from itertools import chain

import numpy as np
import pandas as pd

from ..common.arrays import GOLDEN, Ragged, hashed
from ..common.prefetch import prefetch_map
from ..common.progress import Progress
from ..datasets.table import Block, Table
from ..features.encoding import TokenLookup
from ..features.feature_map import OUT_OF_VOCABULARY, FeatureMap

# Rows of the sample at most, at equal distances in the table.
SAMPLE_ROWS = 100_000
# Shorter sequences are often equal by chance, and have no key.
LEAST_EVENTS = 5


class Sample:
    """A sample of a table, whose `rows` and `clicks` are all that it has.

    `frame` [sample, columns] has the numeric columns, the codes of categories, and of each sequence
    its length and its newest token plus one; a code of 0 is missing. `label` uint8 [sample] or [0],
    `row` int64 [sample] the numbers of the rows in the raw file.
    `counts` by what and by column: the "events" of a sequence and those "unknown" to the feature
    map; without a column, the events that have times, those "later" than their row, the "steps"
    from one to another time and those "back".
    `keys` of all rows ("") and of each sequence: equal ones have equal keys, and only keys whose
    first `bits` bits are 0 are kept.
    """

    def __init__(self, table: Table, feature_map: FeatureMap, bits: int, threads: int) -> None:
        self.table, self._bits, self._event_time = table, bits, feature_map.event_time
        self.rows, self.clicks = table.rows, 0
        self._lookups = {field.column: TokenLookup(field) for field in feature_map.sequences}
        self.counts: Counter[tuple[str, str]] = Counter()
        frames, labels, rows, keys = [], [np.empty(0, np.uint8)], [], []
        step, start, reading = -(-table.rows // SAMPLE_ROWS) or 1, 0, Progress("read", table.rows)
        # A table without rows still gives the sample its columns.
        blocks = chain([table.read(0, 0)], table.blocks())
        for block, block_keys in prefetch_map(self._keyed, blocks, threads):
            picked = block.take(np.arange(-start % step, len(block), step))
            if block.label is not None and picked.label is not None:
                self.clicks += int(block.label.sum())
                labels.append(picked.label)
            frames.append(self._frame(picked))
            rows.append(picked.row)
            keys.append(block_keys)
            start += len(block)
            reading.advance(len(block))
        self.frame = pd.concat(frames, ignore_index=True)
        self.label, self.row = np.concatenate(labels), np.concatenate(rows)
        self.keys = {name: np.concatenate([each[name] for each in keys]) for name in keys[0]}

    def share(self, what: str, among: str, column: str = "") -> float:
        """How many of the events or steps `among` which `what` is counted are that."""
        return self.counts[what, column] / max(1, self.counts[among, column])

    def _frame(self, block: Block) -> pd.DataFrame:
        """Sampled rows, whose events are counted."""
        frame = pd.DataFrame(block.numeric, columns=list(self.table.numeric_columns))
        frame[list(self.table.categorical_columns)] = block.categorical
        for name, lookup in self._lookups.items():
            history = block.sequences[name]
            self.counts["events", name] += len(history.values)
            self.counts["unknown", name] += int((lookup(history.values) == OUT_OF_VOCABULARY).sum())
            newest, has_events = np.zeros(len(history), np.uint64), history.lengths > 0
            ends = history.offsets[1:][has_events]
            newest[has_events] = history.values[ends - 1].astype(np.uint64) + np.uint64(1)
            frame[f"length of {name}"], frame[f"newest of {name}"] = history.lengths, newest
        if self._event_time is not None and block.time is not None:
            times = block.sequences[self._event_time]
            row = np.repeat(np.arange(len(times)), times.lengths)
            values = times.values.astype(np.int64)
            step = np.diff(values)[np.diff(row) == 0]
            self.counts["events", ""] += len(row)
            self.counts["later", ""] += int((values > block.time[row]).sum())
            self.counts["steps", ""] += int((step != 0).sum())
            self.counts["back", ""] += int((step < 0).sum())
        return frame

    def _keyed(self, block: Block) -> tuple[Block, dict[str, np.ndarray]]:
        """A block, and those of its keys, uint64, that are kept."""
        keys = {name: _sequence_keys(block.sequences[name]) for name in self._lookups}
        # The bits of the numeric values: equal raw values have equal bits.
        numbers = block.numeric.view(np.uint32)
        columns = np.column_stack([numbers, block.categorical, *keys.values()]).astype(np.uint64)
        for name, key in keys.items():
            keys[name] = key[block.sequences[name].lengths >= LEAST_EVENTS]
        keys[""] = hashed((columns * _weights(columns.shape[1])).sum(axis=1))
        low = np.uint64(2 ** (64 - self._bits) - 1)
        return block, {name: key[key <= low] for name, key in keys.items()}


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
