"""The models that submit together: their weights, and the blend of their validation predictions.

Weights fitted to few clicks are mostly noise. So weights are fitted to several draws of the rows,
and averaged (bagging, Breiman, Machine Learning 24, 1996). Where the draws disagree, the mean
spreads over the models. A model that is significantly worse than the best keeps
its weight: its errors differ from the best model's, which helps the mean.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import Output, write_json
from ..common.logits import checked_weights, mean_logit
from ..common.parquet import metadata_of, write_table
from ..config.names import folder_name
from .delong import is_significant
from .intervals import behind_best
from .metrics import BY_NAME, Metric, Predictions
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)

# Weights are multiples of its inverse.
_STEPS = 25
# With fewer clicks, or fewer rows without one, all weights are equal. From nine in each half on,
# fitted ones were better on the whole.
LEAST_CLICKS = 18
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
    the weights of the other half. `blend` also has the best model's logits, and `training` (JSON)
    what the weights rest on. Raises UserError unless all files have the same rows.
    """
    tables = _of_same_rows(predictions)
    metadata = _rows_metadata(tables[0])
    names = [path.absolute().parent.name for path in predictions]
    rows = {name: tables[0][name] for name in ("row", "label")}
    label = rows["label"].to_numpy()
    logits = [table["logit"].to_numpy() for table in tables]
    metric, click_rate = BY_NAME[by], float(metadata["click_rate"])
    best, behind = behind_best(label, logits, metric, click_rate)
    worse = {name: entry for name, entry in zip(names, behind) if is_significant(entry)}
    basis = {"metric": by, "rows": len(label), "clicks": int(label.sum())}
    spread, blended = None, None
    if given is None:
        draws, blended = _fitted(logits, label, metric, click_rate)
        given = dict(zip(names, draws.mean(0).tolist()))
        spread = dict(zip(names, draws.std(0).tolist())) if len(draws) > 1 else None
    shares = checked_weights(given, names)
    blended = mean_logit(logits, shares) if blended is None else blended
    columns = {
        "logit": blended,
        "logit_ablated": mean_logit([t["logit_ablated"].to_numpy() for t in tables], shares),
        "logit_best": logits[best],
    }
    write_table(pa.table({**rows, **columns}), blend, {**metadata, "best": names[best]})
    write_json(weights, given)
    write_json(training, {"settings": given, **basis, "spread": spread, "worse": worse})
    shown = ", ".join(f"{name} {weight:.2g}" for name, weight in given.items())
    alone = f"; significantly worse: {', '.join(worse)}" if worse else ""
    logger.info("%s; the best of them alone is %s%s", shown, names[best], alone)


def _of_same_rows(predictions: Sequence[Path]) -> list[pa.Table]:
    """The predictions of each model; raises UserError unless all have the same rows."""
    tables = [read_predictions(path, folder_name(path)) for path in predictions]
    metadata = _rows_metadata(tables[0])
    for path, table in zip(predictions, tables):
        if not (table["row"].equals(tables[0]["row"]) and _rows_metadata(table) == metadata):
            raise UserError(
                f"{path}: has other rows than {predictions[0]}; delete both, and run the same "
                f"command again"
            )
    return tables


def _fitted(
    logits: Sequence[np.ndarray], label: np.ndarray, metric: Metric, click_rate: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """The weights fitted to each draw of the rows, [draws, models], and a blend.

    The blend is of each half of the rows by the weights of the other. With too few clicks there is
    one draw, of equal weights, and no blend.
    """
    clicks, rows = int(label.sum()), len(label)
    counts = f"{clicks:,} clicks in {rows:,} rows"
    if min(clicks, rows - clicks) < LEAST_CLICKS:
        logger.warning(
            "%s: fewer than %d clicks, or fewer rows without one, are too few to fit weights, so "
            "all are equal",
            counts,
            LEAST_CLICKS,
        )
        return np.full((1, len(logits)), 1 / len(logits)), None
    logger.info("weights are fitted to %s, by %s", counts, metric.heading)
    fit = partial(bagged_weights, metric=metric, click_rate=click_rate)
    return fit(logits, label), cross_fitted(logits, label, fit)


def bagged_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, metric: Metric, click_rate: float
) -> np.ndarray:
    """The weights fitted to each draw, [draws, models]; the blend has their mean.

    `logits` has [rows] of each model; `click_rate` is as in `Predictions.of`.
    """
    classes = [np.flatnonzero(label == value) for value in (0, 1)]
    random, share = np.random.default_rng(_SEED), min(1, ROWS_OF_DRAW / len(label))
    weights = []
    for _ in range(_DRAWS):
        drawn = [random.choice(rows, math.ceil(share * len(rows))) for rows in classes]
        rows = np.concatenate(drawn)
        weights.append(fit_weights([z[rows] for z in logits], label[rows], metric, click_rate))
    return np.array(weights)


def fit_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, metric: Metric, click_rate: float
) -> list[float]:
    """The weights of the blend that is best by a metric: not negative, with the sum 1.

    `logits` has [rows] of each model; `click_rate` is as in `Predictions.of`. Models are picked one
    after the other, each as often as that helps (ensemble selection with replacement, Caruana et
    al., ICML 2004). A model's weight is its share of the best set.
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
    """The logits of a blend to measure, float32 [rows]: each half by the other half's weights.

    `fit` returns weights [draws, models], which are averaged.
    """
    blend, rank = np.empty(len(label), np.float32), np.empty(len(label), np.int64)
    # Each half has every other click, and every other row without one.
    rank[np.argsort(label, kind="stable")] = np.arange(len(label))
    for half in (0, 1):
        is_half = rank % 2 == half
        weights = fit([z[~is_half] for z in logits], label[~is_half]).mean(0).tolist()
        blend[is_half] = mean_logit([z[is_half] for z in logits], weights)
    return blend


def _value(logit: np.ndarray, label: np.ndarray, metric: Metric, click_rate: float) -> float:
    """The metric with the sign by which higher is better."""
    return metric.sign * metric.of(Predictions.of(label, logit, click_rate))


def _rows_metadata(table: pa.Table) -> dict[str, str]:
    """A table's metadata about its rows, without its model's name."""
    return {**metadata_of(table), "full_name": ""}
