"""What a row's history tells of time and of its target, beside statistics of codes.

Where events have times, in logarithms, log(1 + time), missing without such an event:

    times: newest, tenth newest, oldest     from that event to the row
    times: newest target of HISTORY         from the newest event with the target's code
    times: newest KIND of HISTORY           from the newest event of the target's kind
    times: events within AGE                log(1 + events) not older than AGE, some quantiles of
                                            the ages of the train rows' events

Whether or not they have:

    kinds: KIND of HISTORY                  the share of the events that are of the target's kind

A kind is a category of the row that is a function of its target item, such as a film's genre. These
columns need histories whose codes are those of their target.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numba
import numpy as np

from ..common.arrays import Ragged
from ..datasets.table import Block

if TYPE_CHECKING:
    from .feature_map import FeatureMap

# The newest event, and so many before it.
_PLACES = {"newest": 0, "tenth newest": 9}
# The ages whose events are counted, as quantiles.
_QUANTILES = (0.01, 0.05, 0.2, 0.5)
# Ages that are enough for quantiles.
_SAMPLE_EVENTS = 1_000_000


def elapsed(block: Block, rows: np.ndarray, event_time: str, newest: int | None = None) -> Ragged:
    """The time from each event of these rows, all or the newest, to its row; 0 if it is later."""
    assert block.time is not None, "a table with events' times has rows' times"
    times = block.sequences[event_time].take(rows, newest)
    now = np.repeat(block.time[rows], times.lengths)
    return Ragged(np.maximum(now - times.values.astype(np.int64), 0), times.offsets)


class EventColumns:
    """These columns of a feature map's histories; none without event times and kinds."""

    def __init__(self, feature_map: "FeatureMap") -> None:
        self.sequences = [field.column for field in feature_map.sequences]
        # The target of each history that has its codes.
        self.targets = {f.column: f.shared_with for f in feature_map.sequences if f.shared_with}
        self.ages = feature_map.event_ages
        self.kinds = [(kind, np.array(kind.of_code, np.int64)) for kind in feature_map.kinds]
        self.columns = [*self._names()]

    def _names(self) -> Iterator[str]:
        if self.ages:
            yield from (f"times: {place}" for place in (*_PLACES, "oldest"))
            yield from (f"times: events within {age:.15g}" for age in self.ages)
            yield from (f"times: newest {target} of {of}" for of, target in self.targets.items())
            yield from (f"times: newest {kind.column} of {kind.sequence}" for kind, _ in self.kinds)
        yield from (f"kinds: {kind.column} of {kind.sequence}" for kind, _ in self.kinds)

    def __call__(
        self,
        histories: Sequence[Ragged],
        ages: Ragged | None,
        categories: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """The columns, float32 [rows, columns].

        `histories` are indices of the feature map, in its order; `ages` are as `elapsed` has them;
        `categories` by column, int64 [rows], are those of targets and kinds, -1 where unknown.
        """
        offsets = histories[0].offsets
        columns = [np.empty((0, len(offsets) - 1), np.float32)]
        events = dict(zip(self.sequences, histories))
        matched = [
            (events[name].values, categories[target]) for name, target in self.targets.items()
        ]
        kinds = [
            (of_code[events[kind.sequence].values], categories[kind.column])
            for kind, of_code in self.kinds
        ]
        if self.ages:
            assert ages is not None, "a table with events' times"
            columns += [_logarithm(_at_places(ages)), _logarithm(_within(ages, self.ages))]
            columns += [
                _logarithm(_since(codes, ages.values, ages.offsets, wanted)[None])
                for codes, wanted in (*matched, *kinds)
            ]
        columns += [_share(codes, offsets, wanted)[None] for codes, wanted in kinds]
        return np.concatenate(columns).T.astype(np.float32)


def _logarithm(values: np.ndarray) -> np.ndarray:
    """log(1 + value), float32; NaN stays."""
    return np.log1p(values).astype(np.float32)


def _at_places(ages: Ragged) -> np.ndarray:
    """The ages of the newest, the tenth newest and the oldest event, float64 [3, rows]."""
    ages_at = np.full((len(_PLACES) + 1, len(ages)), np.nan)
    for i, before in enumerate(_PLACES.values()):
        has_event = ages.lengths > before
        ages_at[i, has_event] = ages.values[ages.offsets[1:][has_event] - 1 - before]
    has_event = ages.lengths > 0
    ages_at[-1, has_event] = ages.values[ages.offsets[:-1][has_event]]
    return ages_at


def _within(ages: Ragged, limits: Sequence[float]) -> np.ndarray:
    """How many events are not older than each limit, float64 [limits, rows]."""
    counts = np.empty((len(limits), len(ages)))
    for i, limit in enumerate(limits):
        until = np.concatenate(([0], np.cumsum(ages.values <= limit)))
        counts[i] = until[ages.offsets[1:]] - until[ages.offsets[:-1]]
    return counts


@numba.njit(nogil=True)
def _since(
    codes: np.ndarray, ages: np.ndarray, offsets: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """The age of each row's newest event of the wanted code, float64 [rows]; NaN without one."""
    since = np.full(len(wanted), np.nan)
    for row in range(len(wanted)):
        for i in range(offsets[row + 1] - 1, offsets[row] - 1, -1):
            if codes[i] == wanted[row]:
                since[row] = ages[i]
                break
    return since


@numba.njit(nogil=True)
def _share(codes: np.ndarray, offsets: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The share of each row's events that are of the wanted code, float32 [rows]; 0 of none."""
    share = np.zeros(len(wanted), np.float32)
    for row in range(len(wanted)):
        count = 0
        for i in range(offsets[row], offsets[row + 1]):
            count += codes[i] == wanted[row]
        share[row] = count / max(1, offsets[row + 1] - offsets[row])
    return share


class AgeQuantiles:
    """Quantiles of the ages of the first events that are added."""

    def __init__(self, event_time: str | None) -> None:
        self.event_time = event_time
        self._sample: list[np.ndarray] = []
        self._events = 0

    def add(self, block: Block) -> None:
        """Add the events of a block, if there are not enough yet."""
        if self.event_time is None or self._events >= _SAMPLE_EVENTS:
            return
        self._sample.append(elapsed(block, np.arange(len(block)), self.event_time).values)
        self._events += len(self._sample[-1])

    def quantiles(self) -> list[float]:
        """The distinct quantiles, ascending; none without events."""
        if not self._events:
            return []
        quantiles = np.quantile(np.concatenate(self._sample), _QUANTILES, method="lower")
        return np.unique(quantiles).astype(float).tolist()
