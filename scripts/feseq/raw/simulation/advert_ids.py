"""Columns of advert IDs: campaign, creative and ad set, which come and go from day to day.

The real files have them as whole numbers; many IDs of the test file are absent from train. How
long they live and how unlike their popularity is are invented, once for all seeds.

Legend: R rows, D calendar days, N IDs.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .statistics import load_statistics

# The days of the train file, and the day after them, which is the test file's.
CALENDAR_DAYS = 8
MEAN_LIFE_DAYS = 4.0
# Standard deviation of the log popularity: a day's rows fall on some hundreds of the IDs.
_POPULARITY_SPREAD = 1.2
_WORLD_SEED = 20_258


@dataclass(frozen=True)
class AdvertIds:
    """The IDs 1..N of a column, day by day."""

    ids: tuple[NDArray[np.float32], ...]  # those of each day, rising
    upper: tuple[NDArray[np.float64], ...]  # level up to which each of them is drawn

    def __call__(self, level: NDArray[np.float64], day: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return the ID, [R], at each level of the day's distribution."""
        drawn = np.empty(len(level), dtype=np.float32)
        for today in np.unique(day):
            rows = day == today
            place = np.searchsorted(self.upper[today][:-1], level[rows], side="right")
            drawn[rows] = self.ids[today][place]
        return drawn


@lru_cache(maxsize=1)
def advert_ids() -> dict[str, AdvertIds]:
    """Return the ID columns by name."""
    return {name: _advert_ids(name, count) for name, count in load_statistics()["ids"].items()}


def _advert_ids(column: str, count: int) -> AdvertIds:
    """Give each ID a life and a popularity; each day keeps the measured quantiles exactly."""
    rng = np.random.default_rng([_WORLD_SEED, count])
    level = np.array(load_statistics()["quantile_levels"])
    # The ends were measured on few rows: the file's IDs run from 1 to their number.
    edge = np.array([1.0, *load_statistics()["numeric"][column]["quantiles"][1:-1], count])
    ids = np.arange(1, count + 1)
    is_old = rng.random(count) < MEAN_LIFE_DAYS / (MEAN_LIFE_DAYS + CALENDAR_DAYS - 1)
    born = np.where(is_old, 0, rng.integers(1, CALENDAR_DAYS, count))
    dies = born + rng.geometric(1.0 / MEAN_LIFE_DAYS, count)
    always = np.isin(ids, np.rint(edge))
    popularity = np.exp(_POPULARITY_SPREAD * rng.standard_normal(count))
    part = np.searchsorted(edge[1:-1], ids)  # between which two quantiles an ID lies
    found, upper = [], []
    for day in range(CALENDAR_DAYS):
        lives = always | ((born <= day) & (day < dies))
        weight = popularity * lives
        weight *= (np.diff(level) / np.bincount(part, weight, len(level) - 1))[part]
        found.append(ids[lives].astype(np.float32))
        upper.append(np.cumsum(weight[lives]))
    return AdvertIds(tuple(found), tuple(upper))
