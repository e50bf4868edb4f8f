"""95 % intervals of all metrics and of their differences.

Those of AUCs are DeLong's; the others are by bootstrap of the rows (Efron, Ann. Stat. 1979).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ..common.progress import Progress
from .delong import CONFIDENCE, Auc, Entry, correct_together, entry_of
from .metrics import BY_NAME, Metric, Predictions

_SEED = 20240714
# The resamples of the rows for an interval.
RESAMPLES = 200


def metric_entries(rows: Predictions, auc: Auc, resamples: int) -> dict[str, Entry]:
    """The metrics by name, without those that are NaN, and `score_gain`, that of balanced odds.

    `auc` is the AUC of the same rows.
    """

    def values(rows: Predictions) -> dict[str, float]:
        metrics = {name: metric.of(rows) for name, metric in BY_NAME.items() if name != "auc"}
        return metrics | {"score_gain": metrics["balanced_score"] - metrics["score"]}

    entries = bootstrap(values, (rows,), resamples if auc.enough else 0)
    known = {name: entry for name, entry in entries.items() if entry["value"] is not None}
    return {"auc": auc.entry(), **known}


def gain_entries(
    better: Predictions, worse: Predictions, auc_gain: Entry, resamples: int
) -> dict[str, Entry]:
    """How much better the metrics of one model are than another's on the same rows.

    `auc_gain` is the difference of the AUCs. Positive is better, also where lower is better.
    """

    def gains(better: Predictions, worse: Predictions) -> dict[str, float]:
        metrics = (metric for metric in BY_NAME.values() if metric.name != "auc")
        return {m.name: m.sign * (m.of(better) - m.of(worse)) for m in metrics}

    enough = auc_gain["p_value"] is not None
    return {"auc": auc_gain, **bootstrap(gains, (better, worse), resamples if enough else 0)}


def behind_best(
    label: np.ndarray, logits: Sequence[np.ndarray], metric: Metric, click_rate: float
) -> tuple[int, list[Entry]]:
    """The number of the best model by a metric, and how far each is behind it.

    `logits` has [rows] of each model. The p-values are corrected for the number of models; there
    are none with fewer than FEW_CLICKS clicks, or rows without one.
    """
    models = [Predictions.of(label, logit, click_rate) for logit in logits]
    aucs = [Auc.of(label, logit) for logit in logits]

    def values(*models: Predictions) -> np.ndarray:
        signed = np.array([metric.sign * metric.of(rows) for rows in models])
        return np.where(np.isnan(signed), -np.inf, signed)

    best = int(np.argmax(values(*models)))
    if metric.name == "auc":
        entries = [aucs[best].minus(auc) for auc in aucs]
    else:

        def behind(*models: Predictions) -> dict[str, float]:
            signed = values(*models)
            return dict(zip(map(str, range(len(signed))), (signed[best] - signed).tolist()))

        resamples = RESAMPLES if aucs[best].enough else 0
        entries = list(bootstrap(behind, models, resamples, differ=True).values())
    correct_together([entry for i, entry in enumerate(entries) if i != best])
    return best, entries


def bootstrap(
    values: Callable[..., Mapping[str, float]],
    models: Sequence[Predictions],
    resamples: int,
    *,
    differ: bool = False,
) -> dict[str, Entry]:
    """The values of one or several models' predictions, with percentiles over the same resamples.

    A value without resamples, or that is NaN in all of them, has no interval. Those that `differ`
    are differences, and get a `p_value`, by the resamples' standard deviation.
    """
    scores, progress = models[0].scores, Progress("resampled", resamples, "times")
    observed, label = values(*models), np.empty_like(scores.label)
    label[scores.order] = scores.label
    sampled = []
    for count in resample_counts(label, resamples):
        sampled.append(values(*(rows.resampled(count) for rows in models)))
        progress.advance(1)
    samples = pd.DataFrame(sampled, columns=list(observed), dtype=float)
    low, high = (samples.quantile((1 + side * CONFIDENCE) / 2) for side in (-1, 1))
    error = samples.std()
    entries = {}
    for name, value in observed.items():
        numbers = {"value": value, "low": low[name], "high": high[name]}
        if differ:
            # Without an error, two models say the same of every row.
            z = abs(value) / error[name] if error[name] else math.inf * abs(value)
            numbers["p_value"] = 1.0 if value == 0 and len(samples) else math.erfc(z / math.sqrt(2))
        entries[name] = entry_of(**numbers)
    return entries


def resample_counts(label: np.ndarray, resamples: int) -> Iterator[np.ndarray]:
    """Each resample's count of each row. Every resample has both classes."""
    random = np.random.default_rng(_SEED)
    rows = len(label)
    while resamples:
        count = np.bincount(random.integers(0, rows, rows), minlength=rows)
        if 0 < count[label == 1].sum() < rows:
            resamples -= 1
            yield count
