"""Statistics of a row's history, computed without a network. A code is an event's integer.

    length           events
    distinct         different codes
    entropy          of the codes' shares, in nats; 0 without events
    target_count     events with the target's code
    target_recency   1 / n if the n-th newest event is the newest with the target's code; else 0

Networks get the first three as numeric columns, computed from the raw codes of whole histories.
Counts have long tails, so columns have log(1 + count). If events have times, there are also columns
of log(1 + time), which are missing if the row has no such event:

    times: newest, tenth newest, oldest     from that event to the row
    times: newest target of HISTORY         from the newest event with the target's code
    times: newest ATTRIBUTE of HISTORY      from the newest event with the target's attribute
    times: events within AGE                log(1 + events not older than AGE); each AGE is a
                                            quantile of the ages of the train rows' events

Tables with and without times have these columns:

    item_attributes: ATTRIBUTE of HISTORY   the share of the events with the target's attribute

An item attribute is a category that depends only on the target item, such as a film's genre.
Columns that name the target or an attribute need histories that share their target's codes.
"""

from collections.abc import Mapping, Sequence

import numba
import numpy as np

from ..common.arrays import Ragged
from ..datasets.table import Block, Table
from .feature_map import FeatureMap

# Statistics of the codes alone; the first COUNT_COLUMNS of them are counts.
CODE_STATISTICS, COUNT_COLUMNS = ("length", "distinct", "entropy"), 2
TARGET_STATISTICS = ("target_count", "target_recency")
STATISTICS = (*CODE_STATISTICS, *TARGET_STATISTICS)
# Their indices in STATISTICS.
_LENGTH, _DISTINCT, _ENTROPY, _TARGET_COUNT, _TARGET_RECENCY = range(len(STATISTICS))
# Larger codes are renumbered, so that an array of counts stays small.
_LARGEST_CODE = 1 << 21
# Events are counted up to these quantiles of the ages.
_QUANTILES = (0.01, 0.05, 0.2, 0.5)
# The quantiles are computed from about this many ages.
_SAMPLE_EVENTS = 1_000_000


def history_statistics(histories: Ragged, target: np.ndarray | None = None) -> np.ndarray:
    """Length, distinct codes, entropy, target count and target recency, float32 [rows, 5].

        histories [[7, 8, 7], []], target [7, 7]:   [[3, 2, 0.64, 2, 1], [0, 0, 0, 0, 0]]

    `histories` has small integer codes, newest last. `target` has the targets' codes, int64
    [rows]; without it, the last two statistics are 0.
    """
    statistics = np.zeros((len(histories), len(STATISTICS)), np.float32)
    values = histories.values.astype(np.int64, copy=False)
    # No code is -1.
    target = np.full(len(histories), -1, np.int64) if target is None else target
    _fill_statistics(values, histories.offsets, target, statistics, int(values.max(initial=0)) + 1)
    return statistics


@numba.njit(nogil=True)
def _fill_statistics(
    values: np.ndarray, offsets: np.ndarray, target: np.ndarray, statistics: np.ndarray, size: int
) -> None:
    """Fill `statistics` [rows, STATISTICS]; `values` are below `size`."""
    count = np.zeros(size, np.int64)
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        length = stop - start
        if length == 0:
            continue
        for i in range(start, stop):
            count[values[i]] += 1
            if values[i] == target[row]:
                statistics[row, _TARGET_COUNT] += 1
                # The newest event comes last and stays.
                statistics[row, _TARGET_RECENCY] = 1 / (stop - i)
        distinct, entropy = 0, 0.0
        for i in range(start, stop):
            # Each code is added once: its count is reset, also for the next row.
            times = count[values[i]]
            if times:
                distinct += 1
                entropy += times * np.log(length / times)
                count[values[i]] = 0
        statistics[row, _LENGTH] = length
        statistics[row, _DISTINCT] = distinct
        statistics[row, _ENTROPY] = entropy / length


class HistoryColumns:
    """Computes numeric columns from each history: log(1 + length), log(1 + distinct), entropy."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self.sequences = sequences
        self.columns = [f"{name} of {each}" for each in sequences for name in CODE_STATISTICS]

    def __call__(self, block: Block) -> np.ndarray:
        """The numeric columns for a block's rows, float32 [rows, columns]."""
        columns = [np.empty((len(block), 0), np.float32)]
        for sequence in self.sequences:
            history = block.sequences[sequence]
            if history.values.max(initial=0) >= _LARGEST_CODE:
                history = Ragged(np.unique_inverse(history.values)[1], history.offsets)
            statistics = history_statistics(history)[:, : len(CODE_STATISTICS)]
            statistics[:, :COUNT_COLUMNS] = np.log1p(statistics[:, :COUNT_COLUMNS])
            columns.append(statistics)
        return np.concatenate(columns, axis=1)


def statistic_of(column: str) -> str:
    """The statistic in the name of a column: `length` for the column `length of HISTORY`."""
    return column.partition(" of ")[0].partition(":")[0]


def recency_name(column: str, sequence: str) -> str:
    """The name of the column: the time since the newest event with the row's value of `column`."""
    return f"times: newest {column} of {sequence}"


def elapsed_times(block: Block, event_time: str) -> Ragged:
    """The time from each event to its row, int64; 0 if the event is later."""
    assert block.time is not None, "a table with events' times has rows' times"
    times = block.sequences[event_time]
    ages = np.repeat(block.time, times.lengths) - times.values.astype(np.int64)
    return Ragged(np.maximum(ages, 0), times.offsets)


def event_age_quantiles(table: Table, event_time: str | None) -> list[float]:
    """Distinct quantiles (1, 5, 20, 50 %) of the time from events to their rows; [] if no times."""
    if event_time is None:
        return []
    ages = [np.empty(0)]
    for block in table.blocks([event_time]):
        ages.append(elapsed_times(block, event_time).values)
        if sum(map(len, ages)) >= _SAMPLE_EVENTS:
            break
    if not any(map(len, ages)):
        return []
    return np.unique(np.quantile(np.concatenate(ages), _QUANTILES, method="lower")).tolist()


class EventColumns:
    """Computes numeric columns from the events' times and from the item attributes, if any."""

    def __init__(self, feature_map: FeatureMap) -> None:
        self.sequences = feature_map.history_columns
        # The target of each sequence that shares its codes.
        self.targets = {f.column: f.shared_with for f in feature_map.sequences if f.shared_with}
        self.ages = feature_map.event_ages
        self.attributes = [
            (each, np.array(each.of_code, np.int64)) for each in feature_map.item_attributes
        ]
        pairs = [(each.column, each.sequence) for each in feature_map.item_attributes]
        self.columns = [f"item_attributes: {column} of {sequence}" for column, sequence in pairs]
        if self.ages:
            within = [f"times: events within {age:.15g}" for age in self.ages]
            newest = [recency_name(target, of) for of, target in self.targets.items()]
            newest += [recency_name(*pair) for pair in pairs]
            times = ["times: newest", "times: tenth newest", "times: oldest"]
            self.columns = [*times, *within, *newest, *self.columns]

    def __call__(
        self,
        histories: Sequence[Ragged],
        ages: Ragged | None,
        categories: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """The numeric columns for some rows, float32 [rows, columns].

        `histories` has the events' vocabulary indices, for each sequence of the feature map. `ages`
        has the time from each event to its row; None without times. `categories` has the rows'
        indices by column, int64 [rows], -1 if unknown.
        """
        offsets, events = histories[0].offsets, dict(zip(self.sequences, histories))
        lengths, last = histories[0].lengths, offsets[1:] - 1

        def equal(codes: np.ndarray, wanted: str) -> np.ndarray:
            return codes == np.repeat(categories[wanted], lengths)

        matched = [equal(events[name].values, target) for name, target in self.targets.items()]
        sharing = [
            equal(of_code[events[each.sequence].values], each.column)
            for each, of_code in self.attributes
        ]
        columns: list[np.ndarray] = []
        if self.ages:
            assert ages is not None, "a table with events' times has ages"
            padded = np.append(ages.values, np.nan)
            columns += [_age_at(padded, offsets, at) for at in (last, last - 9, offsets[:-1])]
            columns += [_counts(ages.values <= age, offsets) for age in self.ages]
            columns += [
                _age_at(padded, offsets, _newest(each, offsets)) for each in (*matched, *sharing)
            ]
            columns = [np.log1p(column) for column in columns]
        columns += [_counts(each, offsets) / np.maximum(1, lengths) for each in sharing]
        return np.array(columns, np.float32).reshape(len(columns), len(lengths)).T


def _age_at(ages: np.ndarray, offsets: np.ndarray, event: np.ndarray) -> np.ndarray:
    """The age of the event at index `event` [rows]; `ages[-1]` if it is not the row's event."""
    has_event = (event >= offsets[:-1]) & (event < offsets[1:])
    return ages[np.where(has_event, event, -1)]


def _newest(is_match: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Index of the last match before each row's end, perhaps in an earlier row; -1 if none."""
    matches = np.where(is_match, np.arange(len(is_match)), -1)
    return np.append(-1, np.maximum.accumulate(matches))[offsets[1:]]


def _counts(is_match: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The number of matching events of each row, int64 [rows]."""
    return np.diff(np.append(0, np.cumsum(is_match))[offsets])
