"""Click rates of categories and tokens: target encoding without a row's own label.

If rows have a time, a train row is encoded by the clicks of older rows alone, as a later row is
(ordered target statistics: Prokhorenkova et al., CatBoost, NeurIPS 2018, here by period). If not,
the train rows are split into folds, by a hash of their number in the raw file, and a train row is
encoded by the other folds (Micci-Barreca, SIGKDD Explorations 2001, with folds). All other rows are
encoded by all train rows.
"""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from ...common.arrays import GOLDEN, Ragged

# The variance of places' log odds is taken to be from 1 / the second to 1 / the first of these.
SMOOTHING = (1, 500)
# With more pairs of a target and a token, pairs share places, by a hash.
MOST_PLACES = 1 << 20
_SHIFT = np.uint64(44)


@dataclass(frozen=True)
class Places:
    """The places where pairs of a target and a token are counted; both are indices from 0.

    A category by itself is a token of the only target, 0.
    """

    targets: int
    tokens: int

    @property
    def count(self) -> int:
        """The number of places."""
        return min(self.targets * self.tokens, MOST_PLACES)


class ClickCounts:
    """Each place's occurrences and clicks, uint32 [folds, places]; a fold may be a period."""

    def __init__(self, places: Places, folds: int) -> None:
        self.places = places
        self.seen = np.zeros((folds, places.count), np.uint32)
        self.clicks = np.zeros((folds, places.count), np.uint32)

    def add(self, fold: np.ndarray, rows: Ragged, target: np.ndarray, label: np.ndarray) -> None:
        """Count the tokens of some rows, each row with its fold, target and label int64 [rows]."""
        many = self.places.tokens
        _add(self.seen, self.clicks, fold, rows.values, rows.offsets, target, many, label)

    def out_of_fold(self) -> np.ndarray:
        """Log odds float32 [folds, places], each fold's from the rows of all other folds."""
        seen, clicks = (count.sum(0) for count in (self.seen, self.clicks))
        return np.stack(
            [self._log_odds(seen - s, clicks - c) for s, c in zip(self.seen, self.clicks)]
        )

    def of_older(self) -> np.ndarray:
        """Log odds float32 [folds, places], each fold's from the rows of earlier folds."""
        sums = (np.cumsum(count, axis=0) - count for count in (self.seen, self.clicks))
        return np.stack([self._log_odds(seen, clicks) for seen, clicks in zip(*sums)])

    def of_all(self) -> np.ndarray:
        """Log odds float32 [1, places] from all rows."""
        return self._log_odds(self.seen.sum(0), self.clicks.sum(0))[None]

    def _log_odds(self, seen: np.ndarray, clicks: np.ndarray) -> np.ndarray:
        """Log odds minus those of all rows, float32 [places].

        Each place gets `prior_count` more occurrences at the click rate of all rows. That rate is
        the same in each fold: a rate without a fold's clicks would leak them.
        """
        rate, count = self.rate, self.prior_count
        odds = (clicks + count * rate) / (seen - clicks + count * (1 - rate))
        return (np.log(odds) - np.log(rate / (1 - rate))).astype(np.float32)

    @property
    def rate(self) -> float:
        """The click rate of all rows; neither 0 nor 1."""
        return float((self.clicks.sum() + 0.5) / (self.seen.sum() + 1))

    @cached_property
    def prior_count(self) -> float:
        """The variance of clicks within places, divided by that of the click rates of places.

        The folds separate the two: a place's own rate differs from the fold's rate in all folds
        alike (Buhlmann and Straub's credibility, MVSB 1970).
        """
        total, excess_total, excess_squares, seen_squares = np.zeros((4, self.places.count))
        for seen, clicks in zip(self.seen, self.clicks):
            excess = clicks - seen * (clicks.sum() / max(1, seen.sum()))
            total += seen
            excess_total += excess
            excess_squares += excess**2
            seen_squares += seen.astype(np.float64) ** 2
        # With places weighted by 1 / total, a mean is within * places + between * its `_squares`.
        weight = 1 / np.maximum(1, total)
        folds, folds_squares = weight @ excess_squares, weight @ seen_squares
        whole, whole_squares = weight @ excess_total**2, total.sum()
        between = max(0, whole - folds) / max(1, whole_squares - folds_squares)
        within = max(0, folds - between * folds_squares) / max(1, np.count_nonzero(total))
        bernoulli = self.rate * (1 - self.rate)
        low, high = (smoothing / bernoulli for smoothing in SMOOTHING)
        return float(np.clip(within / between if between else high, low, high))


def mean_over_newest(
    table: np.ndarray,
    places: Places,
    fold: np.ndarray,
    rows: Ragged,
    target: np.ndarray,
    windows: np.ndarray,
) -> np.ndarray:
    """The mean of a table's values over each row's newest tokens, float32 [rows, windows].

    `table` is [folds, places]; `windows` ascend. A window that a row does not fill has all of its
    tokens; a row without tokens has NaN.
    """
    means = np.empty((len(rows), len(windows)), np.float32)
    _mean(table, fold, rows.values, rows.offsets, target, places.tokens, windows, means)
    return means


@numba.njit(nogil=True, inline="always")
def _place(target: int, token: int, many: int, places: int) -> np.int64:
    pair = target * many + token
    if places < MOST_PLACES:
        return np.int64(pair)
    # The upper bits of the product, as many as MOST_PLACES has.
    return np.int64((np.uint64(pair) * GOLDEN) >> _SHIFT)


@numba.njit(nogil=True)
def _add(
    seen: np.ndarray,
    clicks: np.ndarray,
    fold: np.ndarray,
    tokens: np.ndarray,
    offsets: np.ndarray,
    target: np.ndarray,
    many: int,
    label: np.ndarray,
) -> None:
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            place = _place(target[row], tokens[i], many, seen.shape[1])
            seen[fold[row], place] += 1
            clicks[fold[row], place] += label[row]


@numba.njit(nogil=True)
def _mean(
    table: np.ndarray,
    fold: np.ndarray,
    tokens: np.ndarray,
    offsets: np.ndarray,
    target: np.ndarray,
    many: int,
    windows: np.ndarray,
    means: np.ndarray,
) -> None:
    for row in range(len(offsets) - 1):
        total, events, window = 0.0, 0, 0
        for i in range(offsets[row + 1] - 1, offsets[row] - 1, -1):
            if window == len(windows):
                break
            total += table[fold[row], _place(target[row], tokens[i], many, table.shape[1])]
            events += 1
            if events == windows[window]:
                means[row, window] = total / events
                window += 1
        for rest in range(window, len(windows)):
            means[row, rest] = total / events if events else np.nan
