"""What a training looks at, apart from `evaluate`, so that a new metric there retrains nothing."""

from typing import get_args

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ..common.logits import log_odds, sigmoid
from ..config.train import Figure

_BINS = 20


def click_metrics(label: np.ndarray, logit: np.ndarray, click_rate: float) -> dict[str, float]:
    """All metrics that a monitor may have, by name; NaN unless both labels occur.

    Those at 50:50 odds, which take back the odds of `click_rate`, begin with `balanced_`.
    """
    if not (0 < label.sum() < len(label) and np.isfinite(logit).all()):
        return dict.fromkeys(get_args(Figure), float("nan"))
    order = np.argsort(logit, kind="stable")
    label, logit = label[order], logit[order].astype(np.float64)
    edges = np.unique(logit[np.arange(1, _BINS) * len(logit) // _BINS])
    bins = np.searchsorted(edges, logit, side="right")
    half = np.where(label == 1, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    precision = float(average_precision_score(label, logit))
    found = {"auc": float(roc_auc_score(label, logit)), "average_precision": precision}
    for prefix, shift in (("", 0.0), ("balanced_", -log_odds(click_rate))):
        probability = sigmoid(logit + shift)
        weighted = float(log_loss(label, probability, sample_weight=half))
        gap = np.bincount(bins, probability - label)
        found |= {
            f"{prefix}logloss": float(log_loss(label, probability)),
            f"{prefix}weighted_logloss": weighted,
            f"{prefix}score": 0.5 * precision + 0.5 / (1 + weighted),
            f"{prefix}calibration_error": float(np.abs(gap).sum() / len(label)),
        }
    return found
