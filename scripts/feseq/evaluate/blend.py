"""The models that submit together: their weights, and the blend of their validation predictions.

Weights that are fitted to few clicks are mostly chance. So the equal mean of the best models comes
first, of as many as are within one standard error of the best such mean (Breiman et al., CART,
1984). Fitted weights count as far as their gain over it is more than its error: positive-part
shrinkage (James & Stein, 4th Berkeley Symposium, 1961) on the line between the two.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import write_json
from ..common.logits import mean_logit
from ..common.parquet import metadata_of, write_table
from ..config.names import folder_name, share_of
from .intervals import LEAST_CLICKS, gains_over
from .metrics import BALANCED, BY_NAME, Metric, Rows
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)

# Weights are multiples of its inverse.
_STEPS = 50
# Resamples behind an error, which is then accurate to a fifteenth.
_RESAMPLES = 100


class Weights(NamedTuple):
    """Weights of the models, and what they rest on.

    `gain`, with its standard `error`: how much better the fitted weights are than the equal mean of
    all but the `dropped` models, each half of the rows by weights of the other half.
    `fitted_share`: how far the weights are from there to the fitted ones, 0 to 1.
    """

    weights: list[float]
    clicks: int
    dropped: list[int]
    gain: float | None = None
    error: float | None = None
    fitted_share: float = 0.0


def blend_predictions(
    predictions: list[Path],
    given: Mapping[str, float] | None,
    blend: Path,
    weights: Path,
    training: Path,
    *,
    by: str,
    prior: str,
) -> None:
    """Write the weighted mean of the models' logits, as in a submission, and the weights (JSON).

    `given` weights go by the models' names, which are the folders of `predictions`. None: weights
    are fitted to all but the holdout rows, `by` a metric; the score is at the odds of the `prior`.
    Without holdout rows, each half of the rows is blended by the weights of the other half. `blend`
    also has the logits of the best of the models. Raises UserError unless all have the same rows.
    """
    tables = [read_predictions(path, None, folder_name(path)) for path in predictions]
    _check_same_rows(predictions, tables)
    names = [path.absolute().parent.name for path in predictions]
    rows = {name: tables[0][name] for name in ("row", "label", "holdout")}
    label, holdout = (rows[name].to_numpy() for name in ("label", "holdout"))
    logits = [table["logit"].to_numpy() for table in tables]
    choosing = [logit[~holdout] for logit in logits]
    # Other metrics mean something at the odds of the rows alone.
    metric = BY_NAME[BALANCED + by if (by, prior) == ("score", "balanced") else by]
    click_rate = float(metadata_of(tables[0])["click_rate"])
    fit = partial(shrunk_weights, metric=metric, click_rate=click_rate)
    found, about = given, dict[str, Any]()
    if found is None:
        fitted = fit(choosing, label[~holdout])
        about = fitted._asdict() | {"dropped": [names[i] for i in fitted.dropped]}
        found = dict(zip(names, about.pop("weights")))
        _log(about, len(choosing[0]), by)
    shares = [share_of(found, path) for path in predictions]
    is_apart = given is not None or holdout.any()
    # Of single models, the best has the largest value.
    values = [_value(logit, label[~holdout], metric, click_rate) for logit in choosing]
    best = int(np.argmax(values))
    columns = {
        "logit": mean_logit(logits, shares)
        if is_apart
        else cross_fitted(logits, label, lambda *half: fit(*half).weights),
        "logit_blanked": mean_logit([t["logit_blanked"].to_numpy() for t in tables], shares),
        "logit_best": logits[best],
    }
    write_table(pa.table({**rows, **columns}), blend, {**_of_rows(tables[0]), "best": names[best]})
    write_json(weights, found)
    write_json(training, {"settings": dict(found), **about})
    shown = ", ".join(f"{name} {weight:.2g}" for name, weight in found.items())
    logger.info("%s; the best of them is %s", shown, names[best])


def _log(about: Mapping[str, Any], rows: int, by: str) -> None:
    """What the fitted weights rest on."""
    clicks = f"{about['clicks']:,} clicks in {rows:,} rows"
    if about["gain"] is None:
        logger.warning(
            "%s are too few to fit weights to, with fewer than %d clicks or others: all are equal",
            clicks,
            LEAST_CLICKS,
        )
        return
    for name in about["dropped"]:
        logger.info("the equal mean is better without %s", name)
    logger.info(
        "by %s, weights fitted to %s gain %.2g (standard error %.2g) over the equal mean: they "
        "count by %.0f %%",
        by,
        clicks,
        about["gain"],
        about["error"],
        100 * about["fitted_share"],
    )


def shrunk_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, metric: Metric, click_rate: float
) -> Weights:
    """Weights, not negative and with the sum 1, fitted only as far as the clicks carry.

    `logits` [rows] of each model; `click_rate` as of `Rows`. With fewer than LEAST_CLICKS clicks or
    others, all are equal.
    """
    models, clicks = len(logits), int(label.sum())
    if min(clicks, len(label) - clicks) < LEAST_CLICKS:
        return Weights([1 / models] * models, clicks, [])
    order = np.argsort([-_value(logit, label, metric, click_rate) for logit in logits])
    ranked = [logits[i] for i in order]
    means = [mean_logit(ranked[:count], [1] * count) for count in range(1, models + 1)]
    rows = [Rows(label, mean, click_rate) for mean in means]
    best = int(np.argmax([metric.sign * metric.of(mean) for mean in rows]))
    ahead = gains_over(metric, rows, rows[best], _RESAMPLES)
    kept = max(count for count, (gain, error) in enumerate(ahead, 1) if -gain <= error)
    equal = np.isin(np.arange(models), order[:kept]) / kept
    fit = partial(fit_weights, metric=metric, click_rate=click_rate)
    crossed = Rows(label, cross_fitted(logits, label, fit), click_rate)
    ((gain, error),) = gains_over(metric, [crossed], rows[kept - 1], _RESAMPLES)
    share = max(0.0, 1 - (error / gain) ** 2) if gain > 0 else 0.0
    found = equal + share * (np.array(fit(logits, label)) - equal) if share else equal
    return Weights(found.tolist(), clicks, order[kept:].tolist(), gain, error, share)


def fit_weights(
    logits: Sequence[np.ndarray], label: np.ndarray, metric: Metric, click_rate: float
) -> list[float]:
    """Weights, not negative and with the sum 1, of the blend that is best by a metric.

    `logits` [rows] of each model; `click_rate` as of `Rows`. Models are picked one after the other,
    each as often as that helps (ensemble selection with replacement, Caruana et al., ICML 2004);
    how often a model is among the best set gives its weight.
    """
    total = np.zeros(len(label))
    picked: list[int] = []
    best, best_size = -np.inf, 0
    for size in range(1, _STEPS + 1):
        blends = ((total + logit) / size for logit in logits)
        values = [_value(blend, label, metric, click_rate) for blend in blends]
        choice = int(np.argmax(values))
        total += logits[choice]
        picked.append(choice)
        if values[choice] > best:
            best, best_size = values[choice], size
    counts = np.bincount(picked[:best_size], minlength=len(logits))
    return (counts / best_size).tolist()


def cross_fitted(
    logits: Sequence[np.ndarray], label: np.ndarray, fit: Callable[..., Sequence[float]]
) -> np.ndarray:
    """A blend float32 [rows] to measure: each half of the rows by weights of the other half."""
    blend, place = np.empty(len(label), np.float32), np.empty(len(label), np.int64)
    # Each half has every other click, and every other row without one.
    place[np.argsort(label, kind="stable")] = np.arange(len(label))
    for half in (0, 1):
        here = place % 2 == half
        weights = fit([logit[~here] for logit in logits], label[~here])
        blend[here] = mean_logit([logit[here] for logit in logits], weights)
    return blend


def _value(logit: np.ndarray, label: np.ndarray, metric: Metric, click_rate: float) -> float:
    """The metric, turned so that higher is better."""
    return metric.sign * metric.of(Rows(label, logit, click_rate))


def _of_rows(table: pa.Table) -> dict[str, str]:
    """The metadata of a table that tell of its rows, not of its model."""
    return {**metadata_of(table), "full_name": ""}


def _check_same_rows(predictions: Sequence[Path], tables: Sequence[pa.Table]) -> None:
    for path, table in zip(predictions, tables):
        if not (table["row"].equals(tables[0]["row"]) and _of_rows(table) == _of_rows(tables[0])):
            raise UserError(
                f"{path}: has other rows than {predictions[0]}; delete both and run the same "
                f"command again"
            )
