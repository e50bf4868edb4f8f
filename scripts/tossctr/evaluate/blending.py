"""Fit the weights of submission models, and blend their validation predictions.

Weights are fitted to the logloss, whatever the table's score, as it is the least noisy metric. With
few clicks, even these weights are mostly noise. So they are fitted to several random draws of the
rows and averaged (bagging, Breiman, Machine Learning 24, 1996). A model that is significantly worse
than the best can have weight, too: the blend improves if its errors differ from the best model's.
"""

import logging
import math
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

# With fewer clicks or negatives, all weights are equal. With at least nine clicks in each half,
# fitted weights were better on average.
MIN_CLICKS = 18
# The number of draws, and their maximum rows. Larger values take longer and change little.
_DRAWS = 20
MAX_DRAW_ROWS = 100_000
_SEED = 20240714


def blend_predictions(
    predictions: list[Path],
    given: Mapping[str, float] | None,
    blend: Output,
    weights: Output,
    training: Output,
    *,
    by: str,
) -> None:
    """Write the weighted mean of the models' logits, as in a submission, and the weights (JSON).

    `given` has the weights by model name; a name is the folder of a file in `predictions`. If
    `given` is None, weights are fitted to the rows, and each half of the rows is blended with
    weights fitted to the other half. The file `blend` also has the logits of the best model by the
    metric `by`. The file `training` has the weights as settings. Raises UserError if the files have
    different rows.
    """
    tables = read_same_rows(predictions)
    names = [path.absolute().parent.name for path in predictions]
    metadata = {**metadata_of(tables[0]), "full_name": ""}
    label, click_rate = tables[0]["label"].to_numpy(), float(metadata["click_rate"])
    logits = [table["logit"].to_numpy() for table in tables]
    sign = METRIC_BY_NAME[by].sign  # negative if lower is better
    values = [sign * metrics_of([by], label, logit, click_rate)[0] for logit in logits]
    best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
    clicks, blended = int(label.sum()), None
    if given is None and min(clicks, len(label) - clicks) < MIN_CLICKS:
        logger.warning(
            "the blend's weights are equal: %s clicks in %s validation rows are not enough for a "
            "fit, which needs %d clicks and as many negatives",
            *(f"{clicks:,}", f"{len(label):,}", MIN_CLICKS),
        )
        given = dict.fromkeys(names, 1 / len(names))
    elif given is None:
        given = dict(zip(names, bagged_weights(logits, label)))
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
        *(shown, f"{clicks:,}", f"{len(label):,}", names[best]),
    )


def bagged_weights(logits: Sequence[np.ndarray], label: np.ndarray) -> list[float]:
    """The mean over random draws of the rows of the weights from `fit_weights`."""
    classes = [np.flatnonzero(label == value) for value in (0, 1)]
    random, share = np.random.default_rng(_SEED), min(1, MAX_DRAW_ROWS / len(label))
    weights = []
    for _ in range(_DRAWS):
        drawn = [random.choice(rows, math.ceil(share * len(rows))) for rows in classes]
        rows = np.concatenate(drawn)
        weights.append(fit_weights([z[rows] for z in logits], label[rows]))
    return np.mean(weights, axis=0).tolist()


def fit_weights(logits: Sequence[np.ndarray], label: np.ndarray) -> np.ndarray:
    """The weights [models] whose mean logit has the lowest logloss.

    They are nonnegative and sum to 1. `logits` has an array [rows] per model.
    """
    stacked = np.array(logits, np.float64)

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logit = weights @ stacked
        loss = np.logaddexp(0, logit) - label * logit
        return float(loss.mean()), (stacked * (sigmoid(logit) - label)).mean(axis=1)

    fit = minimize(
        loss_and_gradient,
        np.full(len(logits), 1 / len(logits)),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(logits),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-9},
    )
    weights = np.clip(fit.x, 0, 1)
    return weights / weights.sum()


def cross_fitted_blend(logits: Sequence[np.ndarray], label: np.ndarray) -> np.ndarray:
    """Blended logits float32 [rows]: each half of the rows has weights fitted to the other."""
    blend, rank = np.empty(len(label), np.float32), np.empty(len(label), np.int64)
    # Each half has every other click and every other negative.
    rank[np.argsort(label, kind="stable")] = np.arange(len(label))
    for half in (0, 1):
        is_half = rank % 2 == half
        weights = bagged_weights([z[~is_half] for z in logits], label[~is_half])
        blend[is_half] = mean_logit([z[is_half] for z in logits], weights)
    return blend
