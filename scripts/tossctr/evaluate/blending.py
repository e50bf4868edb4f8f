"""The models that submit together: their weights, and the blend of their validation predictions.

Weights fitted to few clicks are mostly noise. So weights are fitted to several draws of the rows,
and averaged (bagging, Breiman, Machine Learning 24, 1996). Where the draws disagree, the mean
spreads over the models. A model that is significantly worse than the best keeps
its weight: its errors differ from the best model's, which helps the mean.
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

# Weights are multiples of its inverse.
_STEPS = 25
# With fewer clicks, or fewer rows without one, all weights are equal. From nine in each half on,
# fitted ones were better on the whole.
MIN_CLICKS = 18
# The number of draws, and the most rows of each. More take longer and change little.
_DRAWS = 20
ROWS_OF_DRAW = 100_000
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

    `given` has the weights by the models' names, which are the folders of `predictions`. If it is
    None, weights are fitted `by` the metric of that name, and each half of the rows is blended by
    the weights of the other half. `blend` also has the best model's logits; `training` (JSON) has
    the weights as settings. Raises UserError unless all files have the same rows.
    """
    tables = read_same_rows(predictions)
    names = [path.absolute().parent.name for path in predictions]
    metadata = {**metadata_of(tables[0]), "full_name": ""}
    label, click_rate = tables[0]["label"].to_numpy(), float(metadata["click_rate"])
    logits = [table["logit"].to_numpy() for table in tables]
    values = [_value(logit, label, by, click_rate) for logit in logits]
    best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
    clicks, blended = int(label.sum()), None
    if given is None and min(clicks, len(label) - clicks) < MIN_CLICKS:
        logger.warning(
            "%s clicks in %s rows: weights need %d clicks to be fitted, and as many negatives; "
            "they are equal",
            *(f"{clicks:,}", f"{len(label):,}", MIN_CLICKS),
        )
        given = dict.fromkeys(names, 1 / len(names))
    elif given is None:
        given = dict(zip(names, bagged_weights(logits, label, by, click_rate)))
        blended = cross_fitted(logits, label, by, click_rate)
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
        "weights %s, by %s clicks in %s rows; the best single model is %s",
        *(shown, f"{clicks:,}", f"{len(label):,}", names[best]),
    )


def bagged_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, by: str, click_rate: float
) -> list[float]:
    """The mean of the weights fitted to each draw.

    `logits` has [rows] of each model; `by` and `click_rate` are as in `metrics_of`.
    """
    classes = [np.flatnonzero(label == value) for value in (0, 1)]
    random, share = np.random.default_rng(_SEED), min(1, ROWS_OF_DRAW / len(label))
    weights = []
    for _ in range(_DRAWS):
        drawn = [random.choice(rows, math.ceil(share * len(rows))) for rows in classes]
        rows = np.concatenate(drawn)
        weights.append(fit_weights([z[rows] for z in logits], label[rows], by, click_rate))
    return np.mean(weights, axis=0).tolist()


def fit_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, by: str, click_rate: float
) -> list[float]:
    """The weights of the blend that is best by a metric: not negative, with the sum 1.

    `logits` has [rows] of each model; `by` and `click_rate` are as in `metrics_of`. Models are
    picked one after the other, each as often as that helps (ensemble selection with replacement,
    Caruana et al., ICML 2004). A model's weight is its share of the best set.
    """
    total, picked, best = np.zeros(len(label)), [], []
    for size in range(1, _STEPS + 1):
        blends = ((total + logit) / size for logit in logits)
        values = [_value(blend, label, by, click_rate) for blend in blends]
        picked.append(int(np.argmax(values)))
        best.append(max(values))
        total += logits[picked[-1]]
    size = int(np.argmax(best)) + 1
    return (np.bincount(picked[:size], minlength=len(logits)) / size).tolist()


def cross_fitted(
    logits: Sequence[np.ndarray], label: np.ndarray, by: str, click_rate: float
) -> np.ndarray:
    """The logits of a blend to measure, float32 [rows]: each half by the other half's weights."""
    blend, rank = np.empty(len(label), np.float32), np.empty(len(label), np.int64)
    # Each half has every other click, and every other row without one.
    rank[np.argsort(label, kind="stable")] = np.arange(len(label))
    for half in (0, 1):
        is_half = rank % 2 == half
        weights = bagged_weights([z[~is_half] for z in logits], label[~is_half], by, click_rate)
        blend[is_half] = mean_logit([z[is_half] for z in logits], weights)
    return blend


def _value(logit: np.ndarray, label: np.ndarray, by: str, click_rate: float) -> float:
    """The metric with the sign by which higher is better."""
    return METRIC_BY_NAME[by].sign * metrics_of([by], label, logit, click_rate)[0]
