"""95 % intervals of all metrics and of their differences: AUCs by DeLong, others by resamples.

Bootstrap of the rows (Efron, Ann. Stat. 1979).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from .delong import CONFIDENCE, Auc, Entry, entry_of
from .metrics import BY_NAME, Predictions

_SEED = 20240714
# Resamples of the rows behind an interval.
RESAMPLES = 200


def metric_entries(rows: Predictions, auc: Auc, resamples: int) -> dict[str, Entry]:
    """The metrics by name, but those that are NaN, and `score_gain`: that at balanced odds.

    `auc` is the AUC of the same rows.
    """

    def values(rows: Predictions) -> dict[str, float]:
        found = {name: metric.of(rows) for name, metric in BY_NAME.items() if name != "auc"}
        return found | {"score_gain": found["balanced_score"] - found["score"]}

    found = bootstrap(values, (rows,), resamples if auc.enough else 0)
    known = {name: entry for name, entry in found.items() if entry["value"] is not None}
    return {"auc": auc.entry(), **known}


def gain_entries(
    rows: Predictions, others: Predictions, gain: Entry, resamples: int
) -> dict[str, Entry]:
    """How much better each metric of `rows` is than that of the same rows by another model.

    `gain` is the difference of the AUCs. A positive value is better, also where lower is better.
    """

    def gains(rows: Predictions, others: Predictions) -> dict[str, float]:
        found = (metric for metric in BY_NAME.values() if metric.name != "auc")
        return {m.name: m.sign * (m.of(rows) - m.of(others)) for m in found}

    enough = gain["p_value"] is not None
    return {"auc": gain, **bootstrap(gains, (rows, others), resamples if enough else 0)}


def bootstrap(
    values: Callable[..., Mapping[str, float]], of: Sequence[Predictions], resamples: int
) -> dict[str, Entry]:
    """Values of one or several models' rows, with percentiles over the same resamples.

    There is no interval without resamples, or where a value is NaN in all of them.
    """
    found, label = values(*of), np.empty_like(of[0].scores.label)
    label[of[0].scores.order] = of[0].scores.label
    samples = pd.DataFrame(
        [
            values(*(rows.resampled(count) for rows in of))
            for count in resample_counts(label, resamples)
        ],
        columns=list(found),
        dtype=float,
    )
    low, high = (samples.quantile((1 + side * CONFIDENCE) / 2) for side in (-1, 1))
    return {
        name: entry_of(value=value, low=low[name], high=high[name]) for name, value in found.items()
    }


def resample_counts(label: np.ndarray, resamples: int) -> Iterator[np.ndarray]:
    """How often each row is in each resample; the same for all models. Each has both classes."""
    random = np.random.default_rng(_SEED)
    rows = len(label)
    while resamples:
        count = np.bincount(random.integers(0, rows, rows), minlength=rows)
        if 0 < count[label == 1].sum() < rows:
            resamples -= 1
            yield count
