"""Fit the weights of submission models, and blend their validation predictions.

Weights fitted to few clicks are mostly noise. So weights are fitted to several random draws of the
rows and averaged (bagging, Breiman, Machine Learning 24, 1996). If the best model differs between
draws, several models get weight. A model that is significantly worse than the best can have weight,
too: the blend improves if its errors differ from the best model's.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.files import Output, write_json
from ..common.logits import checked_weights, mean_logit
from ..common.parquet import metadata_of, write_table
from .metric_table import METRIC_BY_NAME, metrics_of, read_same_rows

logger = logging.getLogger(__name__)

# Maximum picks in a fit of weights.
_MAX_PICKS = 25
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
    `given` is None, weights are fitted to the metric `by`, and each half of the rows is blended
    with weights fitted to the other half. The file `blend` also has the best model's logits. The
    file `training` has the weights as settings. Raises UserError if the files have different rows.
    """
    tables = read_same_rows(predictions)
    names = [path.absolute().parent.name for path in predictions]
    metadata = {**metadata_of(tables[0]), "full_name": ""}
    label, click_rate = tables[0]["label"].to_numpy(), float(metadata["click_rate"])
    logits = [table["logit"].to_numpy() for table in tables]
    values = [_signed_metric(logit, label, by, click_rate) for logit in logits]
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
        given = dict(zip(names, bagged_weights(logits, label, by, click_rate)))
        blended = cross_fitted_blend(logits, label, by, click_rate)
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


def bagged_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, by: str, click_rate: float
) -> list[float]:
    """The mean over random draws of the rows of the weights from `fit_weights`."""
    classes = [np.flatnonzero(label == value) for value in (0, 1)]
    random, share = np.random.default_rng(_SEED), min(1, MAX_DRAW_ROWS / len(label))
    weights = []
    for _ in range(_DRAWS):
        drawn = [random.choice(rows, math.ceil(share * len(rows))) for rows in classes]
        rows = np.concatenate(drawn)
        weights.append(fit_weights([z[rows] for z in logits], label[rows], by, click_rate))
    return np.mean(weights, axis=0).tolist()


def fit_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, by: str, click_rate: float
) -> list[float]:
    """The weights of the best blend by the metric `by`; they are nonnegative and sum to 1.

    `logits` has an array [rows] per model. A balanced metric shifts logits from `click_rate` to
    50:50 odds. Each pick adds the model with the best resulting mean (ensemble selection with
    replacement, Caruana et al., ICML 2004). A model's weight is its share of the picks up to the
    best mean.
    """
    total, picked, best = np.zeros(len(label)), [], []
    for size in range(1, _MAX_PICKS + 1):
        blends = ((total + logit) / size for logit in logits)
        values = [_signed_metric(blend, label, by, click_rate) for blend in blends]
        picked.append(int(np.argmax(values)))
        best.append(max(values))
        total += logits[picked[-1]]
    size = int(np.argmax(best)) + 1
    return (np.bincount(picked[:size], minlength=len(logits)) / size).tolist()


def cross_fitted_blend(
    logits: Sequence[np.ndarray], label: np.ndarray, by: str, click_rate: float
) -> np.ndarray:
    """Blended logits float32 [rows]: each half of the rows has weights fitted to the other."""
    blend, rank = np.empty(len(label), np.float32), np.empty(len(label), np.int64)
    # Each half has every other click and every other negative.
    rank[np.argsort(label, kind="stable")] = np.arange(len(label))
    for half in (0, 1):
        is_half = rank % 2 == half
        weights = bagged_weights([z[~is_half] for z in logits], label[~is_half], by, click_rate)
        blend[is_half] = mean_logit([z[is_half] for z in logits], weights)
    return blend


def _signed_metric(logit: np.ndarray, label: np.ndarray, by: str, click_rate: float) -> float:
    """The metric `by`, negated if lower is better."""
    return METRIC_BY_NAME[by].sign * metrics_of([by], label, logit, click_rate)[0]
