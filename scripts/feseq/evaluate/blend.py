"""Weights of several models' logits: fitted to labels, and what the blend gains over one model."""

from collections.abc import Callable, Sequence

import numpy as np

from ..common.logits import mean_logit
from ..config.names import LOWER_IS_BETTER
from .intervals import as_entry, intervals
from .metrics import Metrics

# Weights are multiples of its inverse.
_STEPS = 50
FIGURES = ("auc", "average_precision", "logloss", "score")


def fit_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, by: str, shift: float = 0.0
) -> list[float]:
    """Weights, not negative and with the sum 1, of the blend that is best by a figure.

    `logits` [rows] of each model; `by` is one of FIGURES, of the logits plus `shift`. Models are
    picked one after the other, each as often as that helps (ensemble selection with replacement,
    Caruana et al., ICML 2004); how often a model is among the best set gives its weight.
    """
    total = np.zeros(len(label))
    picked: list[int] = []
    best, best_size = -np.inf, 0
    for size in range(1, _STEPS + 1):
        values = [_figure((total + logit) / size, label, by, shift) for logit in logits]
        choice = int(np.argmax(values))
        total += logits[choice]
        picked.append(choice)
        if values[choice] > best:
            best, best_size = values[choice], size
    counts = np.bincount(picked[:best_size], minlength=len(logits))
    return (counts / best_size).tolist()


def cross_fitted(
    logits: Sequence[np.ndarray], label: np.ndarray, fit: Callable[..., Sequence[float]]
) -> np.ndarray:
    """A blend float32 [rows] for figures: each half of the rows by weights of the other half."""
    blend = np.empty(len(label), np.float32)
    for half in (0, 1):
        here = np.arange(len(label)) % 2 == half
        weights = fit([logit[~here] for logit in logits], label[~here])
        blend[here] = mean_logit([logit[here] for logit in logits], weights)
    return blend


def ahead_of(
    blend: np.ndarray, other: np.ndarray, label: np.ndarray, shift: float, resamples: int
) -> dict[str, dict[str, float | None]]:
    """How much better the blend's figures are than another's, on the same resamples."""
    both = [Metrics(label, logit, (shift,)) for logit in (blend, other)]

    def gains(weight: np.ndarray) -> np.ndarray:
        ours, theirs = (metrics.of(weight)[0] for metrics in both)
        return np.array([_sign(name) * (ours[name] - theirs[name]) for name in FIGURES])

    (found,) = intervals([gains], label, resamples)
    return {name: as_entry(*ends) for name, *ends in zip(FIGURES, *found)}


def best_of(logits: Sequence[np.ndarray], label: np.ndarray, by: str, shift: float) -> int:
    """The place of the best single model by a figure."""
    return int(np.argmax([_figure(logit, label, by, shift) for logit in logits]))


def _figure(logit: np.ndarray, label: np.ndarray, by: str, shift: float) -> float:
    metrics = Metrics(label, logit, (shift,)).of(np.ones(len(label)))[0]
    return _sign(by) * metrics[by]


def _sign(name: str) -> int:
    return -1 if name in LOWER_IS_BETTER else 1
