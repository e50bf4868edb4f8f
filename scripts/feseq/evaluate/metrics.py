"""The table of metrics, for intervals, blends, tables, plots and the summary."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import Self

import numpy as np

from ..common.logits import log_odds, sigmoid

# Bins of the calibration error, with about equally many rows each.
CALIBRATION_BINS = 20
BALANCED = "balanced_"


@dataclass(frozen=True, eq=False)
class Scores:
    """Labels 0 or 1 and logits [rows], sorted by the logit; `order` has their places before.

    `balanced` removes `odds`, the log odds of the train rows' click rate. Properties are computed
    once for all resamples.
    """

    order: np.ndarray
    label: np.ndarray
    logit: np.ndarray
    odds: float

    @classmethod
    def of(cls, label: np.ndarray, logit: np.ndarray, click_rate: float = 0.5) -> Self:
        """The scores of rows in any order."""
        order = np.argsort(logit, kind="stable")
        return cls(order, label[order], logit[order].astype(np.float64), log_odds(click_rate))

    @cached_property
    def balanced(self) -> "Scores":
        """The same scores at the odds 50:50."""
        return replace(self, logit=self.logit - self.odds, odds=0.0)

    @cached_property
    def probability(self) -> np.ndarray:
        """Predicted probabilities [rows]."""
        return sigmoid(self.logit)

    @cached_property
    def loss(self) -> np.ndarray:
        """The negative log likelihood of each row [rows], in nats."""
        return np.logaddexp(0, np.where(self.label == 1, -self.logit, self.logit))

    @cached_property
    def bin(self) -> np.ndarray:
        """Each row's bin in the calibration error [rows]; equal logits share a bin."""
        edges = self.logit[np.arange(1, CALIBRATION_BINS) * len(self.logit) // CALIBRATION_BINS]
        return np.searchsorted(np.unique(edges), self.logit, side="right")

    @cached_property
    def ends(self) -> np.ndarray:
        """The last row of each distinct logit, from the highest down."""
        return np.flatnonzero(np.diff(self.logit[::-1], append=np.nan))


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores, and the weight of each row [rows], in the order of the scores."""

    scores: Scores
    weight: np.ndarray

    @classmethod
    def of(cls, label: np.ndarray, logit: np.ndarray, click_rate: float = 0.5) -> Self:
        """Rows of weight 1; see Scores."""
        return cls(Scores.of(label, logit, click_rate), np.ones(len(label)))

    def resampled(self, count: np.ndarray) -> "Predictions":
        """The same rows, each `count` times; `count` [rows] has the order of the labels in `of`."""
        return Predictions(self.scores, count[self.scores.order])

    @cached_property
    def balanced(self) -> "Predictions":
        """The same rows at the odds 50:50."""
        return Predictions(self.scores.balanced, self.weight)

    @cached_property
    def reached(self) -> tuple[np.ndarray, np.ndarray]:
        """Clicks and negatives at each distinct logit or above it, from the highest down."""
        clicks = np.cumsum((self.weight * self.scores.label)[::-1])[self.scores.ends]
        return clicks, np.cumsum(self.weight[::-1])[self.scores.ends] - clicks

    @cached_property
    def average_precision(self) -> float:
        """Mean precision at the logits of clicks, as in scikit-learn."""
        clicks, negatives = self.reached
        total = np.diff(clicks, prepend=0) @ (clicks / np.maximum(clicks + negatives, 1))
        return float(total / max(clicks[-1], 1))

    @cached_property
    def weighted_logloss(self) -> float:
        """Logloss where clicks and negatives count half each."""
        is_click = self.scores.label == 1
        clicks, negatives = self.weight[is_click].sum(), self.weight[~is_click].sum()
        half = self.weight * np.where(is_click, 0.5 / max(clicks, 1), 0.5 / max(negatives, 1))
        return float(np.average(self.scores.loss, weights=half))


def _auc(rows: Predictions) -> float:
    clicks, negatives = rows.reached
    if not clicks[-1] or not negatives[-1]:
        return math.nan
    # Ties count half.
    area = np.diff(negatives, prepend=0) @ (clicks - np.diff(clicks, prepend=0) / 2)
    return float(area / (clicks[-1] * negatives[-1]))


def _logloss(rows: Predictions) -> float:
    return float(np.average(rows.scores.loss, weights=rows.weight))


def _score(rows: Predictions) -> float:
    return 0.5 * rows.average_precision + 0.5 / (1 + rows.weighted_logloss)


def _calibration_error(rows: Predictions) -> float:
    """The root mean square of the bins' gaps, corrected for noise.

    A gap's variance, estimated from the bin's residuals, is subtracted from its square (Kumar,
    Liang & Ma, NeurIPS 2019). A resample's gaps have the noise of two draws; its squared weights
    double the estimate, so resamples scatter around the value. A bin with one row counts as without
    a gap.
    """
    residual, bins = rows.scores.probability - rows.scores.label, rows.scores.bin
    count, weight = np.bincount(bins), np.bincount(bins, rows.weight)
    known = np.where(weight > 0, weight, 1.0)
    gap = np.bincount(bins, rows.weight * residual) / known
    spread = np.bincount(bins, (rows.weight * (residual - gap[bins])) ** 2) / known**2
    square = gap**2 - spread * count / np.maximum(count - 1, 1)
    return math.sqrt(max(0.0, float(weight @ np.where(count > 1, square, 0) / weight.sum())))


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are."""

    name: str  # in metrics.json, comparison.csv and the config
    of: Callable[[Predictions], float]
    sign: int  # 1 if higher is better, else -1
    heading: str  # in tables and plots
    digits: int
    note: str  # explains the metric to the reader of a table
    depends_on_odds: bool = True  # False: it depends on the order of the rows alone


def balanced(metric: Metric) -> Metric:
    """The same metric at the odds 50:50."""
    return replace(
        metric,
        name=f"{BALANCED}{metric.name}",
        of=lambda rows: metric.of(rows.balanced),
        heading=f"balanced {metric.heading}",
        note=f"{metric.note}, at the odds 50:50",
    )


_ap, _wll = attrgetter("average_precision"), attrgetter("weighted_logloss")
METRICS = (
    Metric("auc", _auc, 1, "AUC", 4, "area below the ROC curve", depends_on_odds=False),
    Metric("average_precision", _ap, 1, "AP", 4, "average precision", depends_on_odds=False),
    Metric("logloss", _logloss, -1, "logloss", 5, "mean negative log likelihood, in nats"),
    Metric(
        "weighted_logloss", _wll, -1, "WLL", 3, "logloss where clicks and negatives count half each"
    ),
    Metric("score", _score, 1, "score", 4, "the competition's, 0.5 AP + 0.5 / (1 + WLL)"),
    Metric(
        "calibration_error",
        _calibration_error,
        -1,
        "calibration",
        4,
        f"mean prediction minus share of clicks, root mean square over {CALIBRATION_BINS} bins of "
        f"equally many rows, corrected for noise",
    ),
)
# All metrics by name, with those at balanced odds.
BY_NAME = {
    metric.name: metric
    for metric in (*METRICS, *(balanced(m) for m in METRICS if m.depends_on_odds))
}


def expected(score: np.ndarray, probability: np.ndarray, click_rate: float = 0.5) -> Predictions:
    """Each row as a click and as none [2 * rows], weighted by the true probabilities."""
    rows = Predictions.of(np.repeat([1, 0], len(score)), np.tile(score, 2), click_rate)
    return rows.resampled(np.concatenate([probability, 1 - probability]))


def expected_auc(score: np.ndarray, probability: np.ndarray) -> float:
    """The expected AUC over labels drawn from the true probabilities, free of their noise."""
    return _auc(expected(score, probability))
