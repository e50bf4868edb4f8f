"""Which sets of features a model has: those that pay off on the validation rows.

What is learned of a user or an ad helps where these come back, and misleads where they do not. The
validation rows show which it is. So the sets are tried one after the other, each in a short
training. A set stays if the validation rows' logloss falls by more than its standard error, so the
simplest model that is as good as the best wins.
"""

import logging
from typing import Any

import numpy as np

from ..config.boosting import FEATURE_SETS, BoostingConfig
from ..dataset.table import SomeRows, Table
from .features import Features
from .matrix import quantile_matrix
from .trees import fit

logger = logging.getLogger(__name__)

# Rows of a short training, and of those that it is measured on.
_MOST_ROWS = 200_000
# Other settings than the model's, so that all trials of a search have the sets of its best.
_SHORT = BoostingConfig(learning_rate=0.1, trees=300)
# `min_child_weight` is at most this share of all rows, so that trees of few clicks can split too.
_MOST_OF_LEAF = 0.1


def choose_sets(
    rows: tuple[Table, Table],
    features: tuple[Features, Features],
    device: str,
    threads: int,
) -> list[dict[str, Any]]:
    """Each set in order: by how much it lowers the logloss of the validation rows, and if it stays.

    `rows` are the train rows and the validation rows that choose, `features` those of each, with
    all sets. `gain` is beside the sets kept before, `error` its standard error, from the rows'
    differences.
    """
    train, valid = (SomeRows(table, np.arange(min(table.rows, _MOST_ROWS))) for table in rows)
    label, rate = valid.column("label"), train.column("label").mean()
    most = _MOST_OF_LEAF * train.rows * rate * (1 - rate)
    least = min(_SHORT.min_child_weight, most)
    config = _SHORT.model_copy(update={"min_child_weight": least})

    def losses(sets: list[str]) -> np.ndarray:
        """The logloss of each validation row, of a model with these sets."""
        own, others = (each.with_sets(sets) for each in features)
        matrix = quantile_matrix(train, own, threads=threads)
        valid_matrix = quantile_matrix(valid, others, like=matrix, threads=threads)
        booster, _ = fit(matrix, valid_matrix, config, device, threads, verbosity=0)
        logit = booster.predict(valid_matrix, output_margin=True).astype(np.float64)
        return np.logaddexp(0, logit) - label * logit

    kept: list[str] = []
    found, best = [], losses(kept)
    for name in FEATURE_SETS:
        columns = len(features[0].with_sets([*kept, name]).columns())
        if columns == len(features[0].with_sets(kept).columns()):
            continue  # no column of its kind
        loss = losses([*kept, name])
        gain = float((best - loss).mean())
        error = float((best - loss).std() / np.sqrt(len(loss)))
        if stays := gain > error:
            kept, best = [*kept, name], loss
        logger.info(
            "features %s: the logloss of %s validation rows falls by %.5f +- %.5f, %s",
            name,
            f"{len(loss):,}",
            gain,
            error,
            "kept" if stays else "left out",
        )
        found.append({"set": name, "gain": gain, "error": error, "kept": stays})
    return found
