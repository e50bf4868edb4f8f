"""AUCs of one model with intervals, such as of slices or without a column, by DeLong's method.

DeLong et al. (Biometrics 44, 1988), in O(n log n) by Sun & Xu (IEEE Signal Processing Letters 21,
2014). P-values of several differences are corrected by Holm (Scand. J. Stat. 6, 1979).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..config.names import FEW_CLICKS

CONFIDENCE = 0.95
_Z = 1.959963984540054  # half the width of a 95 % interval, in standard errors

# `value`, `low` and `high`, and the `p_value` of a difference; None where unknown.
Entry = dict[str, float | None]


@dataclass(frozen=True)
class Auc:
    """An AUC and each row's influence on it.

    The squares of `influence` [rows] sum to DeLong's variance. For two AUCs of the same rows, the
    squares of the influences' difference sum to the variance of the AUCs' difference.
    """

    value: float  # NaN with one class only
    influence: np.ndarray
    enough: bool  # clicks, and rows without one: FEW_CLICKS of each, else AUCs are not compared

    @classmethod
    def of(cls, label: np.ndarray, score: np.ndarray) -> "Auc":
        """The AUC of `score` for the labels 0 or 1; both [rows]."""
        is_click = label == 1
        clicks, negatives = int(is_click.sum()), int((~is_click).sum())
        if not clicks or not negatives:
            return cls(math.nan, np.zeros(len(label)), False)
        # The share of the other class that a row is ranked correctly against; ties count half.
        rank, placement = pd.Series(score).rank(), np.empty(len(label))
        for rows, others in ((is_click, negatives), (~is_click, clicks)):
            placement[rows] = (rank[rows] - rank[rows].rank()) / others
        placement[~is_click] = 1 - placement[~is_click]
        value = float(placement[is_click].mean())
        count = np.where(is_click, clicks, negatives)
        influence = (placement - value) / np.sqrt(count * np.maximum(1, count - 1))
        return cls(value, influence, min(clicks, negatives) >= FEW_CLICKS)

    @property
    def error(self) -> float:
        """The standard error; NaN with too few clicks."""
        return math.sqrt(self.influence @ self.influence) if self.enough else math.nan

    def entry(self) -> Entry:
        """Value and interval, which is computed on the log odds and so is within 0 and 1."""
        value, low, high = self.value, math.nan, math.nan
        if 0 < value < 1 and self.error > 0:
            centre, half = math.log(value / (1 - value)), _Z * self.error / (value * (1 - value))
            low, high = (1 / (1 + math.exp(-x)) for x in (centre - half, centre + half))
        return entry_of(value=value, low=low, high=high)

    def minus(self, other: "Auc", rows: np.ndarray | None = None) -> Entry:
        """This AUC minus another, with an interval and a `p_value`.

        The other AUC is of the same rows, or of more rows, among which these are `rows`.
        """
        value, error = self.value - other.value, math.nan
        if self.enough and other.enough:  # most of many small slices have not
            difference = -other.influence
            difference[slice(None) if rows is None else rows] += self.influence
            error = math.sqrt(difference @ difference)
        # Without an error, two AUCs are equal in every row, or both rank all rows correctly.
        p_value = math.erfc(abs(value) / error / math.sqrt(2)) if error else float(value == 0)
        return entry_of(
            value=value, low=value - _Z * error, high=value + _Z * error, p_value=p_value
        )


def correct_together(entries: Sequence[Entry]) -> None:
    """Correct the p-values of several differences (Holm)."""
    p_values = pd.Series([entry["p_value"] for entry in entries], dtype=float).dropna()
    p_values = p_values.sort_values()
    times = np.arange(len(p_values), 0, -1)
    for place, p_value in (p_values * times).clip(upper=1).cummax().items():
        entries[place]["p_value"] = p_value


def entry_of(**numbers: float) -> Entry:
    """The numbers by name, None for NaN."""
    return {name: None if math.isnan(x) else float(x) for name, x in numbers.items()}
