"""95 % confidence intervals of metrics and of differences between models, by the bootstrap.

The bootstrap is Efron's (Ann. Stat. 7, 1979). Holm's method (Scand. J. Stat. 6, 1979) corrects the
p-values of several differences.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..common.progress import Progress
from ..config.names import FEW_CLICKS

# Number of resamples of the rows for each interval.
RESAMPLES = 200
_SEED = 20240714

# `value` and its interval from `low` to `high`; a difference also has a `p_value`. None: unknown.
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
    """Metrics of models on the rows, and on resamples of the rows.

    `logits` has an array [rows] per model. `measure(label, logit, weight=...)` returns the metrics
    of a model; `weight` has how often each row occurs in a resample. Returns the metrics on all
    rows, [models, metrics], and those on resamples, [resamples, models, metrics]. With too few
    clicks, the second array is NaN.
    """
    rows, models = len(label), []
    for logit in logits:
        order = np.argsort(logit, kind="stable")  # metrics of sorted rows take less time
        models.append((order, label[order], logit[order]))

    def measure_models(count: np.ndarray) -> list[Sequence[float]]:
        return [measure(*sorted_rows, weight=count[order]) for order, *sorted_rows in models]

    values = np.array(measure_models(np.ones(rows)))
    samples = np.full((resamples, *values.shape), np.nan)
    if has_enough_clicks(label):
        progress, random = Progress("resampled", resamples, "times"), np.random.default_rng(_SEED)
        for sample in samples:
            sample[:] = measure_models(np.bincount(random.integers(0, rows, rows), minlength=rows))
            progress.advance(1)
    return values, samples


def intervals(values: np.ndarray, samples: np.ndarray, **extra: np.ndarray) -> list[Entry]:
    """The 95 % intervals of n numbers, given `values` [n] and `samples` of them [resamples, n].

    Each entry has `value`, `low`, `high` and, for each array [n] in `extra`, such as p_value, its
    element. NaN becomes None.
    """
    low, high = np.quantile(samples, (0.025, 0.975), axis=0)
    columns = {"value": values, "low": low, "high": high, **extra}
    return [
        {name: None if math.isnan(x) else float(x) for name, x in zip(columns, row)}
        for row in zip(*columns.values())
    ]


def auc_interval(auc: float, clicks: int, negatives: int) -> Entry:
    """An AUC with its interval (Hanley and McNeil, Radiology 143, 1982).

    `low` and `high` are None with fewer than FEW_CLICKS clicks or negatives.
    """
    entry: Entry = {"value": None if math.isnan(auc) else auc, "low": None, "high": None}
    if min(clicks, negatives) >= FEW_CLICKS:
        q1, q2 = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
        variance = auc * (1 - auc) + (clicks - 1) * q1 + (negatives - 1) * q2
        half = 1.96 * math.sqrt(variance / (clicks * negatives))
        entry |= {"low": max(0.0, auc - half), "high": min(1.0, auc + half)}
    return entry


def differences(values: np.ndarray, samples: np.ndarray, reference: int = 0) -> list[list[Entry]]:
    """The metrics of the model with index `reference` minus each model's, [models][metrics].

    `values` and `samples` are the results of `bootstrap`. Each difference has an interval, and a
    p-value with Holm's correction for the number of models.
    """
    values, samples = values[reference] - values, samples[:, [reference]] - samples
    p_values = np.vectorize(_p_value)(values, samples.std(axis=0, ddof=1))
    is_compared = np.arange(len(values)) != reference
    p_values[is_compared] = _corrected(p_values[is_compared])
    return [intervals(values[i], samples[:, i], p_value=p_values[i]) for i in range(len(values))]


def _p_value(difference: float, error: float) -> float:
    """The two-sided p-value of a difference, given its standard error; NaN if that is NaN."""
    if error == 0:  # The difference is the same in all resamples.
        return float(difference == 0)
    return math.erfc(abs(difference) / error / math.sqrt(2))


def _corrected(p_values: np.ndarray) -> np.ndarray:
    """The p-values [tests, metrics], corrected for the number of tests by Holm's method."""
    order = p_values.argsort(axis=0)
    times = np.arange(len(p_values), 0, -1)[:, None]
    ranked = np.take_along_axis(p_values, order, axis=0) * times
    ranked = np.maximum.accumulate(ranked, axis=0).clip(max=1)
    return np.take_along_axis(ranked, order.argsort(axis=0), axis=0)
