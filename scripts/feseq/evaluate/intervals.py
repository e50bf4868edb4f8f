"""95 % intervals of metrics and of differences on the same rows: DeLong's for AUCs, else resamples.

DeLong et al. (Biometrics 44, 1988), in O(n log n) as of Sun & Xu (IEEE Signal Processing Letters
21, 2014); bootstrap of the rows (Efron, Ann. Stat. 1979); correction for several differences (Holm,
Scand. J. Stat. 6, 1979).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .metrics import BY_NAME, Rows

CONFIDENCE = 0.95
# With fewer clicks, or fewer rows without one, two AUCs are not compared.
LEAST_CLICKS = 30
# The level of significance: differences with a larger p-value are not reported as such.
SIGNIFICANCE = 0.05
_Z = 1.959963984540054  # of a 95 % interval
_SEED = 20240714
# Resamples of the rows behind an interval.
RESAMPLES = 200

# `value`, `low` and `high` end, of a difference also its `chance`; None where unknown.
Entry = dict[str, float | None]


@dataclass(frozen=True)
class Auc:
    """An AUC with what each row adds to its error.

    The squares of `influence` [rows] sum to DeLong's variance; those of a difference of two on the
    same rows to the variance of the difference of the AUCs.
    """

    value: float  # NaN with one class only
    influence: np.ndarray
    enough: bool  # LEAST_CLICKS clicks, and as many others

    @classmethod
    def of(cls, label: np.ndarray, score: np.ndarray) -> "Auc":
        """The AUC of rows with these labels, 0 or 1, by these scores; both [rows]."""
        is_click = label == 1
        clicks, others = int(is_click.sum()), int((~is_click).sum())
        if not clicks or not others:
            return cls(math.nan, np.zeros(len(label)), False)
        # The share of the other class that lies on a row's right side, ties by half.
        placement = np.empty(len(label))
        placement[is_click] = _share_below(score[is_click], score[~is_click])
        placement[~is_click] = 1 - _share_below(score[~is_click], score[is_click])
        value = float(placement[is_click].mean())
        count = np.where(is_click, clicks, others)
        influence = (placement - value) / np.sqrt(count * np.maximum(1, count - 1))
        return cls(value, influence, min(clicks, others) >= LEAST_CLICKS)

    @property
    def error(self) -> float:
        """The standard error; NaN where clicks are too few."""
        return _root(float(self.influence @ self.influence), self.enough)

    def entry(self) -> Entry:
        """Value and interval, which is made on the log odds and so lies within 0 and 1."""
        value, low, high = self.value, math.nan, math.nan
        if 0 < value < 1 and self.error > 0:
            centre, half = math.log(value / (1 - value)), _Z * self.error / (value * (1 - value))
            low, high = (1 / (1 + math.exp(-x)) for x in (centre - half, centre + half))
        return _entry(value=value, low=low, high=high)

    def minus(self, other: "Auc") -> Entry:
        """The difference to another AUC of the same rows."""
        apart = self.influence - other.influence
        error = _root(float(apart @ apart), self.enough and other.enough)
        return difference_entry(self.value - other.value, error)

    def of_part(self, part: "Auc", rows: np.ndarray) -> Entry:
        """How far the AUC within some `rows` is above this one of all rows."""
        mine = self.influence[rows]
        apart = part.influence - mine
        square = float(self.influence @ self.influence - mine @ mine + apart @ apart)
        error = _root(square, self.enough and part.enough)
        return difference_entry(part.value - self.value, error)


def _root(square: float, enough: bool) -> float:
    return math.sqrt(max(0.0, square)) if enough else math.nan


def _share_below(score: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For each score, the share of `among` that is lower, ties by half."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, score, "left")
    return (below + np.searchsorted(ordered, score, "right")) / (2 * len(among))


def difference_entry(value: float, error: float) -> Entry:
    """A difference with its interval and its p-value, `chance`."""
    if error == 0:
        chance = 1.0 if value == 0 else 0.0
    else:
        chance = math.erfc(abs(value) / error / math.sqrt(2))
    return _entry(value=value, low=value - _Z * error, high=value + _Z * error, chance=chance)


def correct_together(entries: Sequence[Entry]) -> None:
    """Correct the p-values, `chance`, of several differences (Holm)."""
    known = [(e["chance"], e) for e in entries if e["chance"] is not None]
    highest = 0.0
    for rank, (chance, entry) in enumerate(sorted(known, key=lambda pair: pair[0])):
        highest = max(highest, min(1.0, (len(known) - rank) * chance))
        entry["chance"] = highest


def metric_entries(rows: Rows, auc: Auc, resamples: int) -> dict[str, Entry]:
    """The metrics by name, but those that are NaN, and `score_gain`: that at balanced odds.

    `auc` is the AUC of the same rows.
    """

    def values(rows: Rows) -> dict[str, float]:
        found = {name: metric.of(rows) for name, metric in BY_NAME.items() if name != "auc"}
        return found | {"score_gain": found["balanced_score"] - found["score"]}

    found = bootstrap(values, (rows,), resamples if auc.enough else 0)
    known = {name: entry for name, entry in found.items() if entry["value"] is not None}
    return {"auc": auc.entry(), **known}


def gain_entries(rows: Rows, others: Rows, gain: Entry, resamples: int) -> dict[str, Entry]:
    """How much better each metric of `rows` is than that of the same rows by another model.

    `gain` is the difference of the AUCs. A positive value is better, also where lower is better.
    """

    def gains(rows: Rows, others: Rows) -> dict[str, float]:
        found = (metric for metric in BY_NAME.values() if metric.name != "auc")
        return {m.name: m.sign * (m.of(rows) - m.of(others)) for m in found}

    enough = gain["chance"] is not None
    return {"auc": gain, **bootstrap(gains, (rows, others), resamples if enough else 0)}


def bootstrap(
    values: Callable[..., Mapping[str, float]], of: Sequence[Rows], resamples: int
) -> dict[str, Entry]:
    """Values of one or several models' rows, with percentiles over the same resamples.

    There is no interval without resamples, or where a value is NaN in all of them.
    """
    found = values(*of)
    label = np.empty_like(of[0].label)
    label[of[0].order] = of[0].label
    samples = np.array(
        [
            list(values(*(rows.resampled(count) for rows in of)).values())
            for count in resample_counts(label, resamples)
        ]
    ).reshape(resamples, len(found))
    ends = np.full((2, len(found)), np.nan)
    known = ~np.isnan(samples).all(axis=0) & (resamples > 0)
    shares = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    if known.any():
        ends[:, known] = np.nanquantile(samples[:, known], shares, axis=0)
    return {
        name: _entry(value=value, low=low, high=high)
        for (name, value), low, high in zip(found.items(), *ends)
    }


def resample_counts(label: np.ndarray, resamples: int) -> Iterator[np.ndarray]:
    """How often each row is in each resample; the same for all models. Each has both classes."""
    random = np.random.default_rng(_SEED)
    rows = len(label)
    while resamples:
        count = np.bincount(random.integers(0, rows, rows), minlength=rows)
        if 0 < count[label == 1].sum() < rows:
            resamples -= 1
            yield count


def _entry(**numbers: float) -> Entry:
    return {name: None if math.isnan(x) else float(x) for name, x in numbers.items()}
