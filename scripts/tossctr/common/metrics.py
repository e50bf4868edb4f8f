"""The metrics that trainings monitor and models are measured by."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .logits import log_odds

# Before a metric's name: at the odds 50:50.
BALANCED = "balanced_"


@dataclass(frozen=True, eq=False)
class Rows:
    """Labels 0 or 1, logits and weights, [rows] each, and their metrics, by name.

    A row of weight 2 counts as two rows.
    """

    label: np.ndarray
    logit: np.ndarray
    weight: np.ndarray

    @cached_property
    def _reached(self) -> tuple[np.ndarray, np.ndarray]:
        """Clicks and negatives at each distinct logit or above it, from the highest down."""
        order = np.argsort(self.logit, kind="stable")[::-1]
        last = np.flatnonzero(np.diff(self.logit[order], append=np.nan))
        clicks = np.cumsum((self.weight * self.label)[order])[last]
        return clicks, np.cumsum(self.weight[order])[last] - clicks

    @cached_property
    def auc(self) -> float:
        """The area below the ROC curve; ties count half. NaN with one class."""
        clicks, negatives = self._reached
        if not clicks[-1] or not negatives[-1]:
            return math.nan
        area = np.diff(negatives, prepend=0) @ (clicks - np.diff(clicks, prepend=0) / 2)
        return float(area / (clicks[-1] * negatives[-1]))

    @cached_property
    def average_precision(self) -> float:
        """The mean precision at the logits of clicks, as in scikit-learn; 0 without clicks."""
        clicks, negatives = self._reached
        rows = clicks + negatives
        total = np.diff(clicks, prepend=0) @ (clicks / np.where(rows, rows, 1))
        return float(total / (clicks[-1] or 1))

    @cached_property
    def _loss(self) -> np.ndarray:
        """The negative log likelihood of each row [rows], in nats."""
        return np.logaddexp(0, np.where(self.label == 1, -self.logit, self.logit))

    @cached_property
    def logloss(self) -> float:
        """The mean negative log likelihood."""
        return float(np.average(self._loss, weights=self.weight))

    @cached_property
    def weighted_logloss(self) -> float:
        """The logloss where clicks and negatives count half each."""
        is_click = self.label == 1
        clicks, negatives = (self.weight[rows].sum() or 1 for rows in (is_click, ~is_click))
        half = self.weight / np.where(is_click, clicks, negatives)
        return float(np.average(self._loss, weights=half))

    @cached_property
    def score(self) -> float:
        """The competition's: half the average precision, half of 1 / (1 + weighted logloss)."""
        return 0.5 * self.average_precision + 0.5 / (1 + self.weighted_logloss)


def metrics_of(
    names: Iterable[str],
    label: np.ndarray,
    logit: np.ndarray,
    click_rate: float = 0.5,
    weight: np.ndarray | None = None,
    others: Mapping[str, Callable[[Rows], float]] | None = None,
) -> list[float]:
    """Metrics of rows, by their names in Rows or in `others`.

    With `balanced_` before a name, at the odds 50:50: of the logits minus the log odds of
    `click_rate`, that of the train rows. Without `weight`, each row counts once.
    """
    weight = np.ones(len(label)) if weight is None else weight
    logit = np.asarray(logit, np.float64)
    observed, balanced = (Rows(label, z, weight) for z in (logit, logit - log_odds(click_rate)))
    values = []
    for name in names:
        rows, name = (balanced if BALANCED in name else observed), name.removeprefix(BALANCED)
        values.append((others or {})[name](rows) if name in (others or {}) else getattr(rows, name))
    return values
