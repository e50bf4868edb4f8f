"""How far another table's rows are from those of train: column by column, and all together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

# Stability indices that are widely read as some and as much drift.
SOME_DRIFT, MUCH_DRIFT = 0.1, 0.25
# Levels of a column at most; beyond, deciles of its train values, or its commonest categories.
MOST_LEVELS = 20
_QUANTILES = 10
# Rows of each side that boosting sees, half of which judge it, and rows that are shuffled.
_ROWS, _SHUFFLED = 20_000, 8_000
# An AUC this many standard deviations above 0.5 is not chance.
SURE = 3
_BOOSTING = {
    "max_iter": 40,
    "learning_rate": 0.2,
    "max_leaf_nodes": 15,
    "early_stopping": False,
    "random_state": 1,
}
_TOLD = 10


class Levels:
    """Cuts a column into levels by its train values: 0 missing, then values or ranges of values."""

    def __init__(self, train: np.ndarray, is_category: bool) -> None:
        known = train[~np.isnan(train)]
        values, counts = np.unique(known, return_counts=True)
        self.exact = is_category or len(values) <= MOST_LEVELS
        if self.exact:
            commonest = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
            self.bounds = np.sort(values[commonest])
        else:
            shares = np.arange(1, _QUANTILES) / _QUANTILES
            # Each is a value of the column: a mean of -inf and inf would be none.
            self.bounds = np.unique(np.quantile(known, shares, method="lower"))

    @property
    def count(self) -> int:
        """How many levels there are."""
        return len(self.bounds) + 2

    def of(self, values: np.ndarray) -> np.ndarray:
        """The level of each value, int64 [rows]."""
        if self.exact:
            place = np.searchsorted(self.bounds, values)
            padded = np.append(self.bounds, np.nan)
            level = np.where(padded[np.minimum(place, len(self.bounds))] == values, place + 1, -1)
            level[level < 0] = len(self.bounds) + 1
        else:
            level = np.searchsorted(self.bounds, values) + 1
        return np.where(np.isnan(values), 0, level)


def stability_index(train: np.ndarray, other: np.ndarray, levels: Levels) -> tuple[float, float]:
    """The population stability index of two columns, and what chance alone makes of it on average.

    The sum over levels of (a - b) * ln(a / b), a and b the shares of the rows, half a row added to
    each level. Without drift its mean is about (levels - 1) * (1 / rows + 1 / other rows).
    """
    used = np.zeros(levels.count, bool)
    found = []
    for values in (train, other):
        counts = np.bincount(levels.of(values), minlength=levels.count)
        used |= counts > 0
        found.append(counts)
    a, b = ((counts[used] + 0.5) / (counts[used] + 0.5).sum() for counts in found)
    chance = (used.sum() - 1) * (1 / max(1, len(train)) + 1 / max(1, len(other)))
    return float(((a - b) * np.log(a / b)).sum()), float(chance)


@dataclass(frozen=True)
class Adversary:
    """How well boosting tells two tables apart on rows that it did not learn from.

    `chance` is the standard deviation of `auc` where they do not differ. `columns` are those whose
    shuffling costs the most, each with the AUC lost; none where chance explains the AUC.
    """

    auc: float
    chance: float
    columns: dict[str, float]


def adversary(train: np.ndarray, other: np.ndarray, names: Sequence[str]) -> Adversary | None:
    """Learn from half of the sampled rows, float [rows, columns], to tell `other` from `train`.

    The larger side is cut to the size of the smaller. None with fewer than 20 rows on a side or
    without columns.
    """
    rows = min(len(train), len(other), _ROWS)
    if rows < 20 or not names:
        return None
    random = np.random.default_rng(1)
    picked = [side[random.permutation(len(side))[:rows]] for side in (train, other)]
    half, judging = rows // 2, rows - rows // 2
    # Trees need only know that an infinite value is the largest.
    learn = np.nan_to_num(np.concatenate([side[:half] for side in picked]), nan=np.nan)
    judge = np.nan_to_num(np.concatenate([side[half:] for side in picked]), nan=np.nan)
    is_other = np.repeat([0, 1], judging)
    model = HistGradientBoostingClassifier(**_BOOSTING).fit(learn, np.repeat([0, 1], half))
    auc = float(roc_auc_score(is_other, model.decision_function(judge)))
    chance = float(np.sqrt((2 * judging + 1) / (12 * judging**2)))
    telling: dict[str, float] = {}
    if auc - 0.5 > SURE * chance:
        # Predictions of few rows are done before threads have found one another.
        with threadpool_limits(1):
            lost = permutation_importance(
                model,
                judge,
                is_other,
                scoring="roc_auc",
                n_repeats=1,
                max_samples=min(1.0, _SHUFFLED / len(judge)),
                random_state=1,
            ).importances_mean
        order = np.argsort(-lost, kind="stable")[:_TOLD]
        telling = {names[i]: float(lost[i]) for i in order if lost[i] > 0}
    return Adversary(auc, chance, telling)
