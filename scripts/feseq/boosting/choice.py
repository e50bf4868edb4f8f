"""What the validation rows choose: how small a leaf may be, and which sets of features there are.

Small leaves learn much where much can be known, and learn chance by heart where clicks are few.
What is learned of a user or an ad helps where these come back, and misleads where they do not. The
validation rows show which it is. So changes are tried one after the other, each in a short
training. A change stays if the validation rows' logloss falls by more than its standard error, so
the simplest model that is as good as the best wins.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..config.boosting import FEATURE_SETS, BoostingConfig
from ..dataset.table import SomeRows, Table
from .features import Features
from .matrix import Matrix, quantile_matrix
from .trees import fit

logger = logging.getLogger(__name__)

# Rows of a short training, and of those that it is measured on.
_MOST_ROWS = 200_000
# Other settings than the model's, so that all trials of a search have the sets of its best.
_SHORT = BoostingConfig(learning_rate=0.1, trees=300)
# The first `min_child_weight`. It is at most this share of that of all rows, so that trees of few
# clicks can split too.
_LEAF, _MOST_OF_LEAF = 20.0, 0.1
# Then a quarter of it, as long as that helps; else four times as much.
_STEPS = (0.25, 4.0)


class Choice(NamedTuple):
    """What the validation rows chose, and in `tried` what each change did, in order.

    `gain` is by how much it lowers their logloss beside what was kept before, `error` its standard
    error, from the rows' differences.
    """

    min_child_weight: float
    sets: Sequence[str]
    tried: list[dict[str, Any]]


def choose(
    rows: tuple[Table, Table],
    features: tuple[Features, Features],
    config: BoostingConfig,
    device: str,
    threads: int,
) -> Choice:
    """The `min_child_weight` and the sets of features, each as given where it is not `auto`.

    `rows` are the train rows and the validation rows that choose, `features` those of each, with
    all sets.
    """
    train, valid = (SomeRows(table, np.arange(min(table.rows, _MOST_ROWS))) for table in rows)
    label, rate = valid.column("label"), train.column("label").mean()
    weight = min(_LEAF, _MOST_OF_LEAF * train.rows * rate * (1 - rate))
    sets: list[str] = [] if config.features == "auto" else list(config.features)
    tried: list[dict[str, Any]] = []

    def binned(sets: Sequence[str]) -> tuple[Matrix, Matrix]:
        own, others = (each.with_sets(sets) for each in features)
        matrix = quantile_matrix(train, own, threads=threads)
        return matrix, quantile_matrix(valid, others, like=matrix, threads=threads)

    def losses(matrices: tuple[Matrix, Matrix], weight: float) -> np.ndarray:
        """The logloss of each validation row, of a short training."""
        short = _SHORT.model_copy(update={"min_child_weight": weight})
        booster, _ = fit(*matrices, short, device, threads, verbosity=0)
        logit = booster.predict(matrices[1], output_margin=True).astype(np.float64)
        return np.logaddexp(0, logit) - label * logit

    matrices = binned(sets)
    best = losses(matrices, weight)

    def helps(what: str, matrices: tuple[Matrix, Matrix], weight: float) -> bool:
        nonlocal best
        loss = losses(matrices, weight)
        gain = float((best - loss).mean())
        error = float((best - loss).std() / np.sqrt(len(loss)))
        kept = gain > error
        best = loss if kept else best
        logger.info(
            "%s: the logloss of %s validation rows falls by %.5f +- %.5f, %s",
            what,
            f"{len(loss):,}",
            gain,
            error,
            "kept" if kept else "not kept",
        )
        tried.append({"what": what, "gain": gain, "error": error, "kept": kept})
        return kept

    for step in _STEPS if config.min_child_weight == "auto" else ():
        before = weight
        while helps(f"min_child_weight {weight * step:.3g}", matrices, weight * step):
            weight *= step
        if weight != before:
            break
    for name in FEATURE_SETS if config.features == "auto" else ():
        columns = len(features[0].with_sets([*sets, name]).columns())
        if columns == len(features[0].with_sets(sets).columns()):
            continue  # no column of its kind
        if helps(f"features {name}", binned([*sets, name]), weight):
            sets.append(name)
    return Choice(weight, sets, tried)
