"""The metrics that a training monitors.

They are separate from those of the evaluation, so that a new one there retrains nothing.
"""

from collections.abc import Callable, Iterable

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ....common.logits import log_odds, sigmoid

# Labels and logits [rows] to a metric.
Metric = Callable[[np.ndarray, np.ndarray], float]


def logloss(label: np.ndarray, logit: np.ndarray) -> float:
    """Mean cross-entropy."""
    return log_loss(label, sigmoid(logit))


def weighted_logloss(label: np.ndarray, logit: np.ndarray) -> float:
    """Half the mean cross-entropy of clicks, plus half that of other rows."""
    weight = np.where(label == 1, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    return log_loss(label, sigmoid(logit), sample_weight=weight)


def score(label: np.ndarray, logit: np.ndarray) -> float:
    """The competition's: half the average precision, half of 1 / (1 + weighted logloss)."""
    precision = average_precision_score(label, logit)
    return 0.5 * precision + 0.5 / (1 + weighted_logloss(label, logit))


# Those that families/feseq/settings.py names; with `balanced_` before it, at 50:50 odds.
METRICS: dict[str, Metric] = {
    "auc": roc_auc_score,
    "average_precision": average_precision_score,
    "logloss": logloss,
    "weighted_logloss": weighted_logloss,
    "score": score,
}


def monitored_metrics(
    names: Iterable[str], label: np.ndarray, logit: np.ndarray, click_rate: float
) -> dict[str, float]:
    """Metrics by name, NaN unless both labels occur and all logits are finite.

    `balanced_` before a name: of logits shifted from the odds of `click_rate` to 50:50.
    """
    if not (0 < label.sum() < len(label) and np.isfinite(logit).all()):
        return dict.fromkeys(names, float("nan"))
    metrics = {}
    for name in names:
        shift = -log_odds(click_rate) if name.startswith("balanced_") else 0.0
        metric = METRICS[name.removeprefix("balanced_")]
        metrics[name] = float(metric(label, logit.astype(np.float64) + shift))
    return metrics
