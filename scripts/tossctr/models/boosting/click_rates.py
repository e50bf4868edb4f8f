"""Click rates of categories and history events: target encoding without a row's own label.

If rows are split by time, the rates of a train row come only from train rows of older periods
(ordered target statistics: Prokhorenkova et al., CatBoost, NeurIPS 2018). If not, a hash divides
train rows into folds, and the rates of a train row come from the other folds (Micci-Barreca,
SIGKDD Explorations 2001). The rates of validation and test rows come from all train rows.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numba
import numpy as np

from ...common.arrays import GOLDEN, Ragged
from ...features.feature_map import FeatureMap

# Bounds of 1 / variance of the counters' log odds.
SMOOTHING = (1, 500)
# More pairs of a target and a token share counters, by a hash of 20 bits.
MAX_COUNTERS = 1 << 20
_SHIFT = np.uint64(44)


class ClickRateSpec(NamedTuple):
    """A group of click rates: one for each category, each event, or each pair of target and event.

    A target is the item of the row, such as the ad, to which the events of a history are compared.

    feature_set: name of the set of features that the group belongs to
    field_index: index of the column of categories or targets in the map's `category_fields`
    size: number of categories, or of distinct events
    sequence: index of the history in the feature map; None for categories
    target_count: number of distinct targets, for pairs; else 1
    """

    name: str
    feature_set: str
    field_index: int
    size: int
    sequence: int | None = None
    target_count: int = 1

    @property
    def counter_count(self) -> int:
        """The number of counters: one for each category, event or pair, up to MAX_COUNTERS."""
        return min(self.target_count * self.size, MAX_COUNTERS)

    def counters_of(self, categories: np.ndarray, histories: Sequence[Ragged]) -> Ragged:
        """The counters of each row's category, events or pairs, as indices below `counter_count`.

        `categories` are indices [rows, fields]; `histories` has the events' indices by history.
        """
        category = np.ascontiguousarray(categories[:, self.field_index])
        if self.sequence is None:
            counters, offsets = category, np.arange(len(category) + 1)
        else:
            counters, offsets = histories[self.sequence].values, histories[self.sequence].offsets
        if self.target_count > 1:
            counters = np.repeat(category * self.size, np.diff(offsets)) + counters
        if self.counter_count == MAX_COUNTERS:
            counters = ((counters.astype(np.uint64) * GOLDEN) >> _SHIFT).astype(np.int64)
        return Ragged(counters, offsets)


def click_rate_specs(feature_map: FeatureMap, few_columns: Sequence[str]) -> list[ClickRateSpec]:
    """All click rates that can be features, in the sets `clicks` and `ids`.

    `few_columns` names the columns with few categories. A click rate by category is in `ids` if the
    column is an ID, or if it is neither in `few_columns` nor the target of a history.
    """
    fields = feature_map.category_fields
    names = {field.column for field in fields}.union(feature_map.history_columns)
    rates = []
    for i, field in enumerate(fields):
        is_item = field in feature_map.targets
        is_id = field in feature_map.ids or (field.column not in few_columns and not is_item)
        rates += [ClickRateSpec(field.column, "ids" if is_id else "clicks", i, field.size)]
    for i, sequence in enumerate(feature_map.sequences):
        target, name, size = len(feature_map.profile) + i, sequence.column, sequence.size
        pair = f"{name} with {fields[target].column}"
        while pair in names:  # a column may have any name
            pair += "'"
        names.add(pair)
        rates += [
            ClickRateSpec(name, "clicks", target, size, i),
            ClickRateSpec(pair, "clicks", target, size, i, fields[target].size),
        ]
    return rates


class ClickCounts:
    """Counts of occurrences (`seen`) and of `clicks`, each uint32 [folds, counters].

    A counter is for a category, an event, or a pair of target and event. If rows are split by
    time, each period is a fold. Log odds are relative to the log odds of all rows.
    """

    def __init__(self, counters: int, folds: int) -> None:
        self.seen, self.clicks = np.zeros((2, folds, counters), np.uint32)

    def add(self, fold: np.ndarray, counters: Ragged, label: np.ndarray) -> None:
        """Count further rows: `fold` and `label`, int64 [rows], and the `counters` of each row."""
        _add(self.seen, self.clicks, fold, counters.values, counters.offsets, label)

    def out_of_fold_log_odds(self) -> np.ndarray:
        """For each fold, the log odds of a click in all other folds, float32 [folds, counters]."""
        seen, clicks = self.seen.sum(0), self.clicks.sum(0)
        return np.stack(
            [self._log_odds(seen - s, clicks - c) for s, c in zip(self.seen, self.clicks)]
        )

    def ordered_log_odds(self) -> np.ndarray:
        """By period, the log odds of a click in older periods, float32 [periods, counters]."""
        sums = (np.cumsum(count, axis=0) - count for count in (self.seen, self.clicks))
        return np.stack([self._log_odds(seen, clicks) for seen, clicks in zip(*sums)])

    def full_log_odds(self) -> np.ndarray:
        """The log odds of a click in all rows, float32 [1, counters]."""
        return self._log_odds(self.seen.sum(0), self.clicks.sum(0))[None]

    def _log_odds(self, seen: np.ndarray, clicks: np.ndarray) -> np.ndarray:
        """The log odds of each counter minus the log odds of all rows, float32 [counters].

        A click rate without the clicks of a fold would leak them, so `rate` is that of all rows.
        """
        rate, count = self.rate, self.prior_count
        odds = (clicks + count * rate) / (seen - clicks + count * (1 - rate))
        return (np.log(odds) - np.log(rate / (1 - rate))).astype(np.float32)

    @property
    def rate(self) -> float:
        """The click rate of all rows, smoothed so that it is neither 0 nor 1."""
        return float((self.clicks.sum() + 0.5) / (self.seen.sum() + 1))

    @cached_property
    def prior_count(self) -> float:
        """The strength of smoothing: a counter starts with this many rows at the mean rate.

        This is the variance of clicks within counters, divided by the variance of rates between
        counters. Noise differs between the folds, a counter's true rate does not. So the folds
        separate the two variances (Buhlmann and Straub's credibility, MVSB 1970).
        """
        total, excess_total, excess_squares, seen_squares = np.zeros((4, self.seen.shape[1]))
        for seen, clicks in zip(self.seen, self.clicks):
            excess = clicks - seen * (clicks.sum() / max(1, seen.sum()))
            total += seen
            excess_total += excess
            excess_squares += excess**2
            seen_squares += seen.astype(np.float64) ** 2
        # Weighted by 1 / total, a sum's mean is within * counters + between * its `_squares`.
        weight = 1 / np.maximum(1, total)
        folds, folds_squares = weight @ excess_squares, weight @ seen_squares
        whole, whole_squares = weight @ excess_total**2, total.sum()
        between = max(0, whole - folds) / max(1, whole_squares - folds_squares)
        within = max(0, folds - between * folds_squares) / max(1, np.count_nonzero(total))
        low, high = (smoothing / (self.rate * (1 - self.rate)) for smoothing in SMOOTHING)
        return float(np.clip(within / between if between else high, low, high))


@numba.njit(nogil=True)
def _add(
    seen: np.ndarray,
    clicks: np.ndarray,
    fold: np.ndarray,
    counters: np.ndarray,
    offsets: np.ndarray,
    label: np.ndarray,
) -> None:
    for row in range(len(label)):
        for counter in counters[offsets[row] : offsets[row + 1]]:
            seen[fold[row], counter] += 1
            clicks[fold[row], counter] += label[row]


@numba.njit(nogil=True)
def mean_over_newest(
    table: np.ndarray,
    fold: np.ndarray,
    counters: np.ndarray,
    offsets: np.ndarray,
    windows: np.ndarray,
) -> np.ndarray:
    """For each row and each n in `windows` (ascending), the mean value of its newest n counters.

    `table` has the values [folds, counters], and `fold` [rows] the fold of each row. Row i has the
    counters `counters[offsets[i]:offsets[i + 1]]`, the newest last. A row with fewer than n
    counters gets their mean; a row without any gets NaN. The result is float32 [rows, windows].
    """
    means = np.empty((len(fold), len(windows)), np.float32)
    for row in range(len(fold)):
        total, events, window = 0.0, 0, 0
        for counter in counters[offsets[row] : offsets[row + 1]][::-1]:
            if window == len(windows):
                break
            total += table[fold[row], counter]
            events += 1
            if events == windows[window]:
                means[row, window] = total / events
                window += 1
        means[row, window:] = total / events if events else np.nan
    return means
