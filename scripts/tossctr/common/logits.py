"""Logits and probabilities, and the mean of several models' logits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .files import read_json


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Probabilities float64; exact to rounding for logits of either sign."""
    # The exponent is never positive, so exp does not overflow.
    small = np.exp(-np.abs(np.asarray(logit, np.float64)))
    return np.where(np.asarray(logit) >= 0, 1, small) / (1 + small)


def log_odds(probability: float) -> float:
    """log(p / (1 - p)), the logit of a probability between 0 and 1."""
    return float(np.log(probability) - np.log1p(-probability))


def require_finite(logit: np.ndarray, ids: Any = None) -> None:
    """Raise UserError if a logit [rows] is not finite; the message has the row's ID or place.

    `ids` is an Arrow array of texts, if there are IDs.
    """
    wrong = np.flatnonzero(~np.isfinite(logit))
    if len(wrong):
        row = int(wrong[0])
        name = f"row {row}" if ids is None else f"ID {ids[row].as_py()!r}"
        raise diverged(len(wrong), logit[row], name)


def diverged(count: int, logit: float, row: str) -> UserError:
    """The error for `count` logits that are not finite, one of them for `row`."""
    return UserError(
        f"{count:,} predictions are not finite, for example {logit} for {row}; the model has "
        f"diverged: lower train.learning_rate and train again"
    )


def mean_logit(logits: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean float32 of several models' logits [rows] each."""
    total = np.zeros(len(logits[0]), np.float64)
    for logit, weight in zip(logits, weights, strict=True):
        total += weight * logit.astype(np.float64)
    return (total / sum(weights)).astype(np.float32)


def checked_weights(
    weights: Mapping[str, float] | Sequence[float] | None,
    models: Sequence[str],
    fitted: Path | None = None,
) -> list[float]:
    """The weights of a mean of models, in their order or by their names; None: equal weights.

    `fitted` is a file of weights by name, to be given instead. Raises UserError if both are given,
    or if the weights belong to other models or have no mean.
    """
    if fitted is not None:
        if weights is not None:
            raise UserError(f"weights {weights} and the weights in {fitted}: give one of them")
        weights = read_json(fitted)
    if isinstance(weights, Mapping):
        if sorted(weights) != sorted(models):
            raise UserError(
                f"{f'{fitted}: ' if fitted else ''}weights of {', '.join(weights) or 'none'} for "
                f"the models {', '.join(models)}; give those of the same models"
            )
        weights = [weights[model] for model in models]
    weights = [1.0] * len(models) if weights is None else [*weights]
    if len(weights) != len(models) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise UserError(f"weights {weights} for {len(models)} models; give each one, none below 0")
    return weights
