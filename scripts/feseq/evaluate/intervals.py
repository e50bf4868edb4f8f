"""95 % intervals of AUC and other statistics: a bootstrap of the rows (Efron, Ann. Stat. 1979)."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

CONFIDENCE = 0.95
_SEED = 20240714

# One or several values as a function of the weights [rows] of the rows.
Statistic = Callable[[np.ndarray], np.ndarray]


def intervals(
    statistics: Sequence[Statistic], label: np.ndarray, resamples: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Value, low and high end of each statistic, by percentiles over the same resamples.

    NaN for both ends without resamples, or where a value is NaN in all of them.
    """
    values = [statistic(np.ones(len(label), np.int64)) for statistic in statistics]
    samples: list[list[np.ndarray]] = [[] for _ in statistics]
    for count in resample_counts(label, resamples):
        for sample, statistic in zip(samples, statistics):
            sample.append(statistic(count))
    return [(value, *_ends(np.array(found), value)) for value, found in zip(values, samples)]


def as_entry(value: float, low: float, high: float) -> dict[str, float | None]:
    """Value and ends of an interval as metrics.json has them: None for NaN."""
    known = {"value": value, "low": low, "high": high}
    return {name: None if np.isnan(x) else float(x) for name, x in known.items()}


def resample_counts(label: np.ndarray, resamples: int) -> Iterator[np.ndarray]:
    """How often each row is in each resample; the same for all models. Each has both classes."""
    random = np.random.default_rng(_SEED)
    rows = len(label)
    while resamples:
        count = np.bincount(random.integers(0, rows, rows), minlength=rows)
        if 0 < count[label == 1].sum() < rows:
            resamples -= 1
            yield count


def _ends(samples: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ends = np.full((2, len(value)), np.nan)
    if len(samples):
        known = ~np.isnan(samples).all(axis=0)
        shares = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
        ends[:, known] = np.nanquantile(samples[:, known], shares, axis=0)
    return ends[0], ends[1]
