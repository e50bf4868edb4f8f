"""AUCs and their differences on the same rows, with errors that are right for few clicks.

DeLong et al. (Biometrics 44, 1988); in O(n log n) as of Sun & Xu (IEEE Signal Processing Letters
21, 2014).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from .intervals import as_entry

# With fewer clicks, or fewer rows without one, nothing is said about which of two AUCs is higher.
LEAST_CLICKS = 30
# Differences that chance makes more often than this are not reported as such.
SIGNIFICANCE = 0.05
_Z = 1.959963984540054  # of a 95 % interval


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

    def minus(self, other: "Auc") -> tuple[float, float]:
        """The difference to another AUC of the same rows, and its standard error."""
        apart = self.influence - other.influence
        return self.value - other.value, _root(float(apart @ apart), self.enough and other.enough)

    def of_part(self, part: "Auc", rows: np.ndarray) -> tuple[float, float]:
        """How far the AUC within some `rows` is above this one of all rows, and the error."""
        mine = self.influence[rows]
        apart = part.influence - mine
        square = float(self.influence @ self.influence - mine @ mine + apart @ apart)
        return part.value - self.value, _root(square, self.enough and part.enough)


def _root(square: float, enough: bool) -> float:
    return math.sqrt(max(0.0, square)) if enough else math.nan


def _share_below(score: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For each score, the share of `among` that is lower, ties by half."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, score, "left")
    return (below + np.searchsorted(ordered, score, "right")) / (2 * len(among))


Entry = dict[str, float | None]


def auc_entry(auc: Auc) -> Entry:
    """An AUC as metrics.json has it: value, and the ends of a 95 % interval within 0 and 1.

    The interval is made on the log odds of the AUC. None for what is unknown.
    """
    value, low, high = auc.value, math.nan, math.nan
    if 0 < value < 1 and auc.error > 0:
        centre, half = math.log(value / (1 - value)), _Z * auc.error / (value * (1 - value))
        low, high = (1 / (1 + math.exp(-x)) for x in (centre - half, centre + half))
    return as_entry(value, low, high)


def difference_entry(value: float, error: float) -> Entry:
    """A difference of two AUCs: value, the ends of its 95 % interval, and `chance`.

    `chance` is how often chance alone makes a difference at least as large, in either direction.
    None for what is unknown.
    """
    if error == 0:
        chance = 1.0 if value == 0 else 0.0
    else:
        chance = math.erfc(abs(value) / error / math.sqrt(2))
    entry = as_entry(value, value - _Z * error, value + _Z * error)
    return entry | {"chance": None if math.isnan(chance) else chance}


def correct_together(entries: Sequence[Entry]) -> None:
    """Raise `chance` of differences looked at together (Holm, Scand. J. Stat. 6, 1979)."""
    known = [(e["chance"], e) for e in entries if e["chance"] is not None]
    highest = 0.0
    for rank, (chance, entry) in enumerate(sorted(known, key=lambda pair: pair[0])):
        highest = max(highest, min(1.0, (len(known) - rank) * chance))
        entry["chance"] = highest


def expected_auc(score: np.ndarray, probability: np.ndarray) -> float:
    """The AUC over all labels that the true probabilities allow: no label's chance is in it."""
    label = np.repeat([1, 0], len(score))
    weight = np.concatenate([probability, 1 - probability])
    return float(roc_auc_score(label, np.tile(score, 2), sample_weight=weight))
