"""Fit the weights of submission models, and blend their validation predictions.

Fitted weights minimize the logloss, the least noisy metric.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.optimize import minimize

from ..common.files import Output, write_json
from ..common.logits import checked_weights, mean_logit, sigmoid
from ..common.parquet import metadata_of, write_table
from .metric_table import METRIC_BY_NAME, metrics_of, read_same_rows

logger = logging.getLogger(__name__)

# Standard deviation of the prior on a weight. With few clicks, weights are nearly equal.
_DEVIATION = 0.2


def blend_predictions(
    predictions: list[Path],
    given: Mapping[str, float] | None,
    blend: Output,
    weights: Output,
    training: Output,
    *,
    by: str,
) -> None:
    """Blend the validation predictions of several models: the weighted mean of their logits.

    predictions: a file for each model, in a folder with the model's name
    given: weights by model name; None: they are fitted to all rows, but in `blend`, each half of
        the rows has weights fitted to the other half
    blend: output, parquet; also has the logits of the best model by the metric `by`
    weights: output, JSON: weights by model name
    training: output, JSON: the same, under the key `settings`

    Raises UserError if the files in `predictions` have different rows.
    """
    tables = read_same_rows(predictions)
    names = [path.absolute().parent.name for path in predictions]
    metadata = {**metadata_of(tables[0]), "full_name": ""}
    label, click_rate = tables[0]["label"].to_numpy(), float(metadata["click_rate"])
    logits = [table["logit"].to_numpy() for table in tables]
    sign = METRIC_BY_NAME[by].sign  # negative if lower is better
    values = [sign * metrics_of([by], label, logit, click_rate)[0] for logit in logits]
    best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
    blended = None
    if given is None:
        given = dict(zip(names, fit_weights(logits, label)))
        blended = cross_fitted_blend(logits, label)
    shares = checked_weights(given, names)
    columns = {
        **{name: tables[0][name] for name in ("row", "label")},
        "logit": mean_logit(logits, shares) if blended is None else blended,
        "logit_ablated": mean_logit([t["logit_ablated"].to_numpy() for t in tables], shares),
        "logit_best": logits[best],
    }
    write_table(pa.table(columns), blend, {**metadata, "best": names[best]})
    write_json(weights, given)
    write_json(training, {"settings": given})
    shown = ", ".join(f"{name} {weight:.2g}" for name, weight in given.items())
    logger.info(
        "blend weights: %s (%s clicks in %s validation rows); best single model: %s",
        *(shown, f"{label.sum():,}", f"{len(label):,}", names[best]),
    )


def fit_weights(logits: Sequence[np.ndarray], label: np.ndarray) -> list[float]:
    """The weights [models] of the best blend by logloss; they are nonnegative and sum to 1.

    `logits` has an array [rows] per model. The fit is maximum a posteriori, with a normal prior
    around equal weights.
    """
    stacked, equal = np.array(logits, np.float64), 1 / len(logits)

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logit, off = weights @ stacked, (weights - equal) / _DEVIATION**2
        loss = np.logaddexp(0, logit) - label * logit
        gradient = (stacked * (sigmoid(logit) - label)).sum(axis=1) + off
        return (loss.sum() + (weights - equal) @ off / 2) / len(label), gradient / len(label)

    fit = minimize(
        loss_and_gradient,
        np.full(len(logits), equal),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(logits),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-10},
    )
    weights = np.clip(fit.x, 0, 1)
    return (weights / weights.sum()).tolist()


def cross_fitted_blend(logits: Sequence[np.ndarray], label: np.ndarray) -> np.ndarray:
    """Blended logits float32 [rows]; the weights for each half are fitted to the other half.

    `logits` has an array [rows] per model.
    """
    blend, rank = np.empty(len(label), np.float32), np.empty(len(label), np.int64)
    # Each half has every other click and every other negative.
    rank[np.argsort(label, kind="stable")] = np.arange(len(label))
    for half in (0, 1):
        is_half = rank % 2 == half
        weights = fit_weights([z[~is_half] for z in logits], label[~is_half])
        blend[is_half] = mean_logit([z[is_half] for z in logits], weights)
    return blend
