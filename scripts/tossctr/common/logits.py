"""Logits, probabilities, the weighted mean (blend) of several models' logits, and metrics."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError, row_name
from .files import read_json

# Prefix of metrics at 50:50 odds.
BALANCED = "balanced_"


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logit)) as float64, accurate for logits of either sign."""
    # The exponent is never positive, so exp does not overflow.
    small = np.exp(-np.abs(np.asarray(logit, np.float64)))
    return np.where(np.asarray(logit) >= 0, 1, small) / (1 + small)


def log_odds(probability: float) -> float:
    """log(p / (1 - p)), the logit of a probability p between 0 and 1."""
    return float(np.log(probability) - np.log1p(-probability))


def require_finite(logit: np.ndarray, ids: Any = None) -> None:
    """Raise UserError if one of the logits [rows] is NaN or infinite.

    The message names the first such row by its ID in `ids` (an Arrow array), or else by its number.
    """
    wrong = np.flatnonzero(~np.isfinite(logit))
    if len(wrong):
        row = int(wrong[0])
        name = row_name(row) if ids is None else f"ID {ids[row].as_py()!r}"
        raise UserError(
            f"{len(wrong):,} of {len(logit):,} predictions are not finite, such as {logit[row]} "
            f"for {name}; the model has diverged: lower `train.learning_rate` and train again"
        )


def mean_logit(logits: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The weighted mean, float32 [rows], of several models' logits [rows]."""
    total = np.zeros(len(logits[0]), np.float64)
    for logit, weight in zip(logits, weights, strict=True):
        total += weight * logit.astype(np.float64)
    return (total / sum(weights)).astype(np.float32)


def checked_weights(
    weights: Mapping[str, float] | Sequence[float] | None,
    models: Sequence[str],
    fitted: Path | None = None,
) -> list[float]:
    """The weight of each model in a blend, in the order of `models`.

    `weights` maps model names to weights, or is a list in this order. `fitted` is a JSON file that
    maps model names to weights. If both are None, all weights are equal. Raises UserError if both
    are given, if the names differ from `models`, if a weight is negative, or if the sum is not
    positive and finite.
    """
    if fitted is not None:
        if weights is not None:
            raise UserError(
                f"blend weights are given twice, {weights} and the file {fitted}; give only one"
            )
        weights = read_json(fitted)
    if isinstance(weights, Mapping):
        if sorted(weights) != sorted(models):
            raise UserError(
                f"{f'{fitted}: ' if fitted else ''}weights of {', '.join(weights) or 'none'}, "
                f"but the models are {', '.join(models)}; give one weight for each model"
            )
        weights = [weights[model] for model in models]
    weights = [1.0] * len(models) if weights is None else [*weights]
    if len(weights) != len(models) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise UserError(
            f"weights {weights} for the models {', '.join(models)}; give one weight for each "
            f"model, none below 0, with a positive and finite sum"
        )
    return weights


def prior_shift(prior: str, click_rates: Iterable[float]) -> np.float32:
    """The number to subtract from logits for the prior that probabilities should assume.

    'observed' assumes the train rows' click rate: the number is 0. 'balanced' assumes a click rate
    of 0.5: it is the log odds of the train rows' click rate. `click_rates` has the click rate of
    each model's train rows. Raises UserError for 'balanced' if they differ, or for another prior.
    """
    if prior == "observed":
        return np.float32(0)
    if prior != "balanced":
        raise UserError(f"the prior is {prior!r}; give 'observed' or 'balanced'")
    rates = set(click_rates)
    if len(rates) > 1:
        raise UserError(
            f"the models were trained on rows of different click rates ({sorted(rates)}); blend "
            f"only models of the same size (toy, medium or full), which have the same rows"
        )
    return np.float32(log_odds(rates.pop()))


@dataclass(frozen=True, eq=False)
class LabelledLogits:
    """Labels (0 or 1), logits and sample weights of some rows, each [rows]; metrics are properties.

    A row with weight 2 counts as two rows.
    """

    label: np.ndarray
    logit: np.ndarray
    weight: np.ndarray

    @cached_property
    def _reached(self) -> tuple[np.ndarray, np.ndarray]:
        """The weight of clicks and of negatives at or above each distinct logit, descending."""
        order = np.argsort(self.logit, kind="stable")[::-1]
        last = np.flatnonzero(np.diff(self.logit[order], append=np.nan))
        clicks = np.cumsum((self.weight * self.label)[order])[last]
        return clicks, np.cumsum(self.weight[order])[last] - clicks

    @cached_property
    def auc(self) -> float:
        """The area under the ROC curve; ties count half. NaN if a class is missing."""
        clicks, negatives = self._reached
        if not clicks[-1] or not negatives[-1]:
            return math.nan
        area = np.diff(negatives, prepend=0) @ (clicks - np.diff(clicks, prepend=0) / 2)
        return float(area / (clicks[-1] * negatives[-1]))

    @cached_property
    def average_precision(self) -> float:
        """The average precision as scikit-learn defines it; 0 without clicks."""
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
        """The logloss if clicks and negatives each have half of the total weight."""
        is_click = self.label == 1
        clicks, negatives = (self.weight[rows].sum() or 1 for rows in (is_click, ~is_click))
        half = self.weight / np.where(is_click, clicks, negatives)
        return float(np.average(self._loss, weights=half))

    @cached_property
    def score(self) -> float:
        """The competition's score: the mean of average precision and 1 / (1 + weighted logloss)."""
        return 0.5 * self.average_precision + 0.5 / (1 + self.weighted_logloss)


def metrics_of(
    names: Iterable[str],
    label: np.ndarray,
    logit: np.ndarray,
    click_rate: float = 0.5,
    weight: np.ndarray | None = None,
    extra_metrics: Mapping[str, Callable[[LabelledLogits], float]] | None = None,
) -> list[float]:
    """The values of the metrics `names`: properties of LabelledLogits, or keys of `extra_metrics`.

    A metric with the prefix `balanced_` is at 50:50 odds: the log odds of `click_rate`, the click
    rate of the train rows, are first subtracted from the logits. Without `weight`, rows count once.
    """
    weight = np.ones(len(label)) if weight is None else weight
    logit = np.asarray(logit, np.float64)
    extra_metrics, shifted = extra_metrics or {}, logit - log_odds(click_rate)
    observed, balanced = (LabelledLogits(label, z, weight) for z in (logit, shifted))
    values = []
    for name in names:
        rows, name = (balanced if BALANCED in name else observed), name.removeprefix(BALANCED)
        values.append(extra_metrics[name](rows) if name in extra_metrics else getattr(rows, name))
    return values
