"""95 % intervals of metrics and of differences between models, by bootstrap of the rows.

Efron (Ann. Stat. 7, 1979). The p-values of several differences are corrected by Holm's method
(Scand. J. Stat. 6, 1979).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..common.progress import Progress
from ..config.names import FEW_CLICKS

# Resamples of the rows for each interval.
RESAMPLES = 200
_SEED = 20240714

# `value`, `low` and `high`, and the `p_value` of a difference; None where unknown.
Entry = dict[str, float | None]


def has_enough_clicks(label: np.ndarray) -> bool:
    """True if there are at least FEW_CLICKS clicks and as many negatives."""
    clicks = int(label.sum())
    return min(clicks, len(label) - clicks) >= FEW_CLICKS


def bootstrap(
    label: np.ndarray,
    logits: Sequence[np.ndarray],
    measure: Callable[..., Sequence[float]],
    resamples: int = RESAMPLES,
) -> tuple[np.ndarray, np.ndarray]:
    """Metrics of models on the rows [models, metrics], and on resamples of the rows.

    On resamples the metrics are [resamples, models, metrics], NaN with too few clicks. `logits` has
    an array [rows] per model; `measure` takes labels, logits and `weight` and returns the metrics.
    """
    rows, models = len(label), []
    for logit in logits:
        order = np.argsort(logit, kind="stable")  # metrics of sorted rows take less time
        models.append((order, label[order], logit[order]))

    def measured(count: np.ndarray) -> list[Sequence[float]]:
        return [measure(*sorted_rows, weight=count[order]) for order, *sorted_rows in models]

    values = np.array(measured(np.ones(rows)))
    samples = np.full((resamples, *values.shape), np.nan)
    if has_enough_clicks(label):
        progress, random = Progress("resampled", resamples, "times"), np.random.default_rng(_SEED)
        for sample in samples:
            sample[:] = measured(np.bincount(random.integers(0, rows, rows), minlength=rows))
            progress.advance(1)
    return values, samples


def intervals(values: np.ndarray, samples: np.ndarray, **others: np.ndarray) -> list[Entry]:
    """Values [n] with the percentiles of their resamples [resamples, n]; `others` are [n], too."""
    low, high = np.quantile(samples, (0.025, 0.975), axis=0)
    columns = {"value": values, "low": low, "high": high, **others}
    return [
        {name: None if math.isnan(x) else float(x) for name, x in zip(columns, row)}
        for row in zip(*columns.values())
    ]


def auc_interval(auc: float, clicks: int, others: int) -> Entry:
    """An AUC with its interval (Hanley and McNeil, Radiology 143, 1982).

    `others` counts the negatives. With too few rows of either class there is no interval.
    """
    entry: Entry = {"value": None if math.isnan(auc) else auc, "low": None, "high": None}
    if min(clicks, others) >= FEW_CLICKS:
        of_clicks, of_others = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
        variance = auc * (1 - auc) + (clicks - 1) * of_clicks + (others - 1) * of_others
        half = 1.96 * math.sqrt(variance / (clicks * others))
        entry |= {"low": max(0.0, auc - half), "high": min(1.0, auc + half)}
    return entry


def differences(values: np.ndarray, samples: np.ndarray, reference: int = 0) -> list[list[Entry]]:
    """How much higher each metric is for the model `reference` than for each model.

    The arrays are as `bootstrap` returns them; the result is [models][metrics]. The p-values of a
    metric are corrected for the number of other models.
    """
    values, samples = values[reference] - values, samples[:, [reference]] - samples
    p_values = np.vectorize(_p_value)(values, samples.std(axis=0, ddof=1))
    others = np.arange(len(values)) != reference
    p_values[others] = _corrected(p_values[others])
    return [intervals(values[i], samples[:, i], p_value=p_values[i]) for i in range(len(values))]


def _p_value(difference: float, error: float) -> float:
    """The two-sided p-value of a difference with a standard error; NaN if the error is NaN."""
    if error == 0:  # The models predict the same, or differ equally in all resamples.
        return float(difference == 0)
    return math.erfc(abs(difference) / error / math.sqrt(2))


def _corrected(p_values: np.ndarray) -> np.ndarray:
    """The p-values [tests, metrics], corrected for the number of tests (Holm)."""
    order = p_values.argsort(axis=0)
    times = np.arange(len(p_values), 0, -1)[:, None]
    ranked = np.take_along_axis(p_values, order, axis=0) * times
    ranked = np.maximum.accumulate(ranked, axis=0).clip(max=1)
    return np.take_along_axis(ranked, order.argsort(axis=0), axis=0)
