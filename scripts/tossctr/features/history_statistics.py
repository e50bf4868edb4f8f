"""Statistics of a row's history: a few numbers that need no network.

    length           events
    distinct         different codes
    entropy          of the codes' shares, in nats; 0 without events
    target_count     events with the target's code
    target_recency   1 / (events from the newest of these to the end, itself included); 0: none

`target_count` and `target_recency` need histories whose codes are those of their target.

As numeric columns of networks they describe the raw codes, before any cut. Counts become
log(1 + count), since they have long tails.
"""

from collections.abc import Sequence

import numba
import numpy as np

from ..common.arrays import Ragged
from ..datasets.table import Block

# Statistics that need no target; the first COUNTS of them are counts.
QUANTITIES, COUNTS = ("length", "distinct", "entropy"), 2
OF_TARGET = ("target_count", "target_recency")
NAMES = (*QUANTITIES, *OF_TARGET)
# Their columns.
_LENGTH, _DISTINCT, _ENTROPY, _TARGET_COUNT, _TARGET_RECENCY = range(len(NAMES))
# Larger codes are renumbered, so that counting them takes little memory.
_LARGEST_CODE = 1 << 21


def history_statistics(histories: Ragged, target: np.ndarray | None = None) -> np.ndarray:
    """The numbers of each row, float32 [rows, NAMES].

    `histories` are indices of a feature map, newest last; `target` int64 [rows] has the index of
    each row's target among them. Without it no event has the target's code.

        histories [[7, 8, 7], []], target [7, 7]:   [[3, 2, 0.64, 2, 1], [0, 0, 0, 0, 0]]
    """
    statistics = np.zeros((len(histories), len(NAMES)), np.float32)
    values = histories.values.astype(np.int64, copy=False)
    # No code is -1.
    target = np.full(len(histories), -1, np.int64) if target is None else target
    _describe(values, histories.offsets, target, statistics, int(values.max(initial=0)) + 1)
    return statistics


@numba.njit(nogil=True)
def _describe(
    values: np.ndarray, offsets: np.ndarray, target: np.ndarray, statistics: np.ndarray, size: int
) -> None:
    """Fill `statistics` [rows, NAMES]; all values are below `size`."""
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
                # Oldest first, so that the newest stays.
                statistics[row, _TARGET_RECENCY] = 1 / (stop - i)
        distinct, entropy = 0, 0.0
        for i in range(start, stop):
            # Each code once, which leaves the counts at 0 for the next row.
            times = count[values[i]]
            if times:
                distinct += 1
                entropy += times * np.log(length / times)
                count[values[i]] = 0
        statistics[row, _LENGTH] = length
        statistics[row, _DISTINCT] = distinct
        statistics[row, _ENTROPY] = entropy / length


class HistoryColumns:
    """Statistics of the `sequences` as numeric columns: those in QUANTITIES."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self.sequences = sequences
        self.columns = [f"{name} of {sequence}" for sequence in sequences for name in QUANTITIES]

    def __call__(self, block: Block, rows: np.ndarray) -> np.ndarray:
        """The columns of these rows of `block`, float32 [rows, columns]."""
        columns = [np.empty((len(rows), 0), np.float32)]
        for sequence in self.sequences:
            histories = _with_small_codes(block.sequences[sequence].take(rows))
            statistics = history_statistics(histories)[:, : len(QUANTITIES)]
            statistics[:, :COUNTS] = np.log1p(statistics[:, :COUNTS])
            columns.append(statistics)
        return np.concatenate(columns, axis=1)


def statistic_of(column: str) -> str:
    """The name of the statistic that a column holds: of `length of HISTORY`, `length`."""
    return column.partition(" of ")[0].partition(":")[0]


def _with_small_codes(histories: Ragged) -> Ragged:
    """The same events; large codes are replaced by their rank among the codes that occur."""
    if histories.values.max(initial=0) < _LARGEST_CODE:
        return histories
    _, place = np.unique(histories.values, return_inverse=True)
    return Ragged(place, histories.offsets)
