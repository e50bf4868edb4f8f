"""The models that submit together: their weights, and the blend of their validation predictions.

Weights that are fitted to few clicks are mostly chance, so they are the mean of those fitted to
draws of the rows (bagging, Breiman, Machine Learning 24, 1996): where the draws disagree, they
spread over the models.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import Output, write_json
from ..common.logits import checked_weights, mean_logit
from ..common.parquet import metadata_of, write_table
from ..config.names import folder_name
from .metrics import BALANCED, BY_NAME, Metric, Predictions
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)

# Weights are multiples of its inverse.
_STEPS = 25
# With fewer clicks, or as few other rows, all weights are equal. With so many, fitted ones were
# better on the whole (benchmarks/blend.py).
LEAST_CLICKS = 9
# Draws of the rows, and rows of each at most: more take longer and change little.
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
    by: Literal["logloss", "auc", "average_precision", "score"],
    prior: Literal["observed", "balanced"],
) -> None:
    """Write the weighted mean of the models' logits, as in a submission, and the weights (JSON).

    `given` weights go by the models' names, which are the folders of `predictions`. None: weights
    are fitted to all but the holdout rows, `by` a metric; the score is at the odds of the `prior`.
    Without holdout rows, each half of the rows is blended by the weights of the other half. `blend`
    also has the logits of the best of the models. Raises UserError unless all have the same rows.
    """
    tables = [read_predictions(path, None, folder_name(path)) for path in predictions]
    about = _of_rows(tables[0])
    for path, table in zip(predictions, tables):
        if not (table["row"].equals(tables[0]["row"]) and _of_rows(table) == about):
            raise UserError(
                f"{path}: has other rows than {predictions[0]}; delete both and run the same "
                f"command again"
            )
    names = [path.absolute().parent.name for path in predictions]
    rows = {name: tables[0][name] for name in ("row", "label", "holdout")}
    label, chooses = rows["label"].to_numpy(), ~rows["holdout"].to_numpy()
    logits = [table["logit"].to_numpy() for table in tables]
    choosing, clicked = [logit[chooses] for logit in logits], label[chooses]
    # Other metrics mean something at the odds of the rows alone.
    metric = BY_NAME[BALANCED + by if (by, prior) == ("score", "balanced") else by]
    click_rate = float(about["click_rate"])
    found, basis, blended = given, dict[str, Any](), None
    if found is None:
        # Without holdout rows each half is blended by weights of the other.
        least = 2 * LEAST_CLICKS if chooses.all() else LEAST_CLICKS
        fitted = bagged_weights(choosing, clicked, metric, click_rate, least)
        found = dict(zip(names, fitted.mean(0).tolist()))
        basis = {"clicks": int(clicked.sum()), "spread": None}
        shown = f"{basis['clicks']:,} clicks in {len(clicked):,} rows"
        if len(fitted) > 1:
            logger.info("weights are fitted to %s", shown)
            basis["spread"] = dict(zip(names, fitted.std(0).tolist()))
            if chooses.all():
                fit = partial(bagged_weights, metric=metric, click_rate=click_rate)
                blended = cross_fitted(logits, label, fit)
        else:
            logger.warning(
                "%s: fewer than %d clicks, or as few others, say nothing of weights, so all are "
                "equal",
                shown,
                least,
            )
    shares = checked_weights(found, names)
    # Of single models, the best has the largest value.
    best = int(np.argmax([_value(logit, clicked, metric, click_rate) for logit in choosing]))
    columns = {
        "logit": mean_logit(logits, shares) if blended is None else blended,
        "logit_ablated": mean_logit([t["logit_ablated"].to_numpy() for t in tables], shares),
        "logit_best": logits[best],
    }
    write_table(pa.table({**rows, **columns}), blend, {**about, "best": names[best]})
    write_json(weights, found)
    write_json(training, {"settings": dict(found), **basis})
    shown = ", ".join(f"{name} {weight:.2g}" for name, weight in found.items())
    logger.info("%s; the best of them is %s", shown, names[best])


def bagged_weights(
    logits: Sequence[np.ndarray],
    label: np.ndarray,
    metric: Metric,
    click_rate: float,
    least: int = LEAST_CLICKS,
) -> np.ndarray:
    """The weights fitted to each draw [draws, models], whose mean is the blend's.

    `logits` [rows] of each model; `click_rate` as of `Rows`. With fewer than `least` clicks or
    others, there is one draw, and its weights are equal.
    """
    classes = [np.flatnonzero(label == value) for value in (0, 1)]
    if min(map(len, classes)) < least:
        return np.full((1, len(logits)), 1 / len(logits))
    random, share = np.random.default_rng(_SEED), min(1, ROWS_OF_DRAW / len(label))
    found = []
    for _ in range(_DRAWS):
        drawn = [random.choice(rows, math.ceil(share * len(rows))) for rows in classes]
        rows = np.concatenate(drawn)
        found.append(fit_weights([z[rows] for z in logits], label[rows], metric, click_rate))
    return np.array(found)


def fit_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, metric: Metric, click_rate: float
) -> list[float]:
    """Weights, not negative and with the sum 1, of the blend that is best by a metric.

    `logits` [rows] of each model; `click_rate` as of `Rows`. Models are picked one after the other,
    each as often as that helps (ensemble selection with replacement, Caruana et al., ICML 2004);
    how often a model is among the best set gives its weight.
    """
    total, picked, best = np.zeros(len(label)), [], []
    for size in range(1, _STEPS + 1):
        blends = ((total + logit) / size for logit in logits)
        values = [_value(blend, label, metric, click_rate) for blend in blends]
        picked.append(int(np.argmax(values)))
        best.append(max(values))
        total += logits[picked[-1]]
    size = int(np.argmax(best)) + 1
    return (np.bincount(picked[:size], minlength=len(logits)) / size).tolist()


def cross_fitted(
    logits: Sequence[np.ndarray], label: np.ndarray, fit: Callable[..., np.ndarray]
) -> np.ndarray:
    """A blend float32 [rows] to measure: each half of the rows by weights of the other half.

    `fit` gives weights [draws, models], whose mean is the half's.
    """
    blend, place = np.empty(len(label), np.float32), np.empty(len(label), np.int64)
    # Each half has every other click, and every other row without one.
    place[np.argsort(label, kind="stable")] = np.arange(len(label))
    for half in (0, 1):
        here = place % 2 == half
        weights = fit([logit[~here] for logit in logits], label[~here]).mean(0).tolist()
        blend[here] = mean_logit([logit[here] for logit in logits], weights)
    return blend


def _value(logit: np.ndarray, label: np.ndarray, metric: Metric, click_rate: float) -> float:
    """The metric, turned so that higher is better."""
    return metric.sign * metric.of(Predictions.of(label, logit, click_rate))


def _of_rows(table: pa.Table) -> dict[str, str]:
    """The metadata of a table that tell of its rows, not of its model."""
    return {**metadata_of(table), "full_name": ""}
