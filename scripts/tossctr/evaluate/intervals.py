"""95 % intervals of metrics, and differences of models, by bootstrap of the rows.

Efron, Ann. Stat. 1979. The intervals of a single model's AUCs are DeLong's.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..common.progress import Progress
from ..config.names import FEW_CLICKS
from .delong import CONFIDENCE, Entry, correct_together, entry_of
from .metric_table import BY_NAME, Metric, metrics_of

_SEED = 20240714
# The resamples of the rows for an interval.
RESAMPLES = 200


def metric_entries(
    label: np.ndarray, logit: np.ndarray, click_rate: float, resamples: int
) -> dict[str, Entry]:
    """The metrics of a model by name, but for its AUC; all [rows]."""
    names = [name for name in BY_NAME if name != "auc"]
    observed, sampled = bootstrap(label, [logit], click_rate, names, resamples)
    return dict(zip(names, _entries(observed[0], sampled[:, 0])))


def gain_entries(
    label: np.ndarray, better: np.ndarray, worse: np.ndarray, click_rate: float, resamples: int
) -> dict[str, Entry]:
    """How much better the metrics of one model are than another's on the same rows.

    Positive is better, also where lower is better.
    """
    observed, sampled = bootstrap(label, [better, worse], click_rate, [*BY_NAME], resamples)
    signs = np.array([metric.sign for metric in BY_NAME.values()])
    gains, samples = (signs * (each[..., 0, :] - each[..., 1, :]) for each in (observed, sampled))
    return dict(zip(BY_NAME, _entries(gains, samples, differ=True)))


def behind_best(
    label: np.ndarray, logits: Sequence[np.ndarray], metric: Metric, click_rate: float
) -> list[Entry]:
    """How far each model is behind the best by a metric.

    `logits` has [rows] of each model. The p-values are corrected for the number of models.
    """
    values, sampled = bootstrap(label, logits, click_rate, [metric.name], RESAMPLES)
    values, sampled = metric.sign * values[:, 0], metric.sign * sampled[..., 0]
    best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
    entries = _entries(values[best] - values, sampled[:, [best]] - sampled, differ=True)
    correct_together([entry for i, entry in enumerate(entries) if i != best])
    return entries


def bootstrap(
    label: np.ndarray,
    logits: Sequence[np.ndarray],
    click_rate: float,
    names: Sequence[str],
    resamples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Metrics of models on the same rows, [models, names], and on their resamples.

    The latter are [resamples, models, names], with both classes in each resample; there are none
    with fewer than FEW_CLICKS clicks, or rows without one.
    """
    rows, clicks, models = len(label), int(label.sum()), []
    for logit in logits:
        order = np.argsort(logit, kind="stable")  # metrics of sorted rows take less time
        models.append((order, label[order], logit[order]))

    def values(count: np.ndarray) -> list[list[float]]:
        return [
            metrics_of(names, labels, sorted_logit, click_rate, count[order])
            for order, labels, sorted_logit in models
        ]

    resamples = resamples if min(clicks, rows - clicks) >= FEW_CLICKS else 0
    progress = Progress("resampled", resamples, "times")
    random = np.random.default_rng(_SEED)
    sampled: list[list[list[float]]] = []
    while len(sampled) < resamples:
        count = np.bincount(random.integers(0, rows, rows), minlength=rows)
        if 0 < count[label == 1].sum() < rows:
            sampled.append(values(count))
            progress.advance(1)
    return np.array(values(np.ones(rows))), np.reshape(sampled, (-1, len(models), len(names)))


def _entries(values: np.ndarray, sampled: np.ndarray, *, differ: bool = False) -> list[Entry]:
    """Values [n] with the percentiles of their resamples [resamples, n], if there are any.

    Those that `differ` are differences, and get a `p_value`, by the resamples' standard deviation.
    """
    samples = pd.DataFrame(sampled)
    low, high = (samples.quantile((1 + side * CONFIDENCE) / 2) for side in (-1, 1))
    error, entries = samples.std(), []
    for i, value in enumerate(values.tolist()):
        numbers = {"value": value, "low": low[i], "high": high[i]}
        if differ:
            # Without an error, two models say the same of every row.
            z = abs(value) / error[i] if error[i] else math.inf * abs(value)
            numbers["p_value"] = 1.0 if value == 0 and len(samples) else math.erfc(z / math.sqrt(2))
        entries.append(entry_of(**numbers))
    return entries
