"""Logits and probabilities, and the mean of several models' logits."""

from collections.abc import Sequence

import numpy as np


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Probabilities float64; exact to rounding for logits of either sign."""
    # The exponent is never positive, so exp does not overflow.
    small = np.exp(-np.abs(np.asarray(logit, np.float64)))
    return np.where(np.asarray(logit) >= 0, 1, small) / (1 + small)


def log_odds(probability: float) -> float:
    """log(p / (1 - p)), the logit of a probability between 0 and 1."""
    return float(np.log(probability) - np.log1p(-probability))


def mean_logit(logits: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean float32 of several models' logits [rows] each."""
    total = np.zeros(len(logits[0]), np.float64)
    for logit, weight in zip(logits, weights, strict=True):
        total += weight * logit.astype(np.float64)
    return (total / sum(weights)).astype(np.float32)
