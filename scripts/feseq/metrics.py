"""Metrics of predicted click probabilities."""

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score


def click_metrics(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Area under the ROC curve and mean binary cross-entropy in nats (scikit-learn)."""
    return {
        "auc": float(roc_auc_score(label, probability)),
        "logloss": float(log_loss(label, probability.astype(np.float64), labels=[0, 1])),
    }


def share_of_best(auc: float, best_auc: float) -> float:
    """Share of what can be learned: (AUC - 0.5) / (best possible AUC - 0.5)."""
    return (auc - 0.5) / (best_auc - 0.5)
