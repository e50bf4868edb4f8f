"""What a training monitors, when it is evaluated, and when it stops early.

The metrics here are apart from those of the evaluation, so that a new one there retrains nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ..common.logits import log_odds, sigmoid

# An epoch of more steps is worth evaluations within it.
LONG_EPOCH_STEPS = 2_000
EVALUATIONS_OF_A_LONG_EPOCH = 4
# Labels and logits [rows] to a metric.
Metric = Callable[[np.ndarray, np.ndarray], float]


def logloss(label: np.ndarray, logit: np.ndarray) -> float:
    """Mean cross-entropy."""
    return float(log_loss(label, sigmoid(logit)))


def weighted_logloss(label: np.ndarray, logit: np.ndarray) -> float:
    """The same where clicks and others count half each."""
    weight = np.where(label == 1, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    return float(log_loss(label, sigmoid(logit), sample_weight=weight))


def score(label: np.ndarray, logit: np.ndarray) -> float:
    """The competition's: half the average precision, half of 1 / (1 + weighted logloss)."""
    precision = average_precision_score(label, logit)
    return float(0.5 * precision + 0.5 / (1 + weighted_logloss(label, logit)))


# Those that config/train.py names; with `balanced_` before it, at 50:50 odds.
METRICS: dict[str, Metric] = {
    "auc": lambda label, logit: float(roc_auc_score(label, logit)),
    "average_precision": lambda label, logit: float(average_precision_score(label, logit)),
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
    found = {}
    for name in names:
        shift = -log_odds(click_rate) if name.startswith("balanced_") else 0.0
        shifted = logit.astype(np.float64) + shift
        found[name] = METRICS[name.removeprefix("balanced_")](label, shifted)
    return found


@dataclass(frozen=True)
class Schedule:
    """The batches of an epoch, from 1 on, after which a training is evaluated.

    `per_epoch` "auto": once; in a long epoch, further evaluations only look for the best weights.
    """

    per_epoch: int | str
    batches_per_epoch: int

    def is_due(self, batch: int) -> bool:
        """True if an evaluation comes after this batch."""
        parts = self.per_epoch
        if isinstance(parts, str):
            is_long = self.batches_per_epoch > LONG_EPOCH_STEPS
            parts = EVALUATIONS_OF_A_LONG_EPOCH if is_long else 1
        done, before = (n * parts // self.batches_per_epoch for n in (batch, batch - 1))
        return done > before

    def counts(self, batch: int) -> bool:
        """True if learning rate and early stopping depend on the evaluation after this batch."""
        return batch == self.batches_per_epoch or self.per_epoch != "auto"


@dataclass
class EarlyStopping:
    """Counts the evaluations in a row without gain; `patience` of them end the training."""

    patience: int
    best: float = float("-inf")
    without_gain: int = 0

    def is_gain(self, monitor: float) -> bool:
        """Count an evaluation; True if it is a gain."""
        is_gain = monitor > self.best
        self.best = max(monitor, self.best)
        self.without_gain = 0 if is_gain else self.without_gain + 1
        return is_gain

    @property
    def is_over(self) -> bool:
        """True once the patience is used up."""
        return self.without_gain >= self.patience
