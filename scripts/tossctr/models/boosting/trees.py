"""Trees of binned rows, and the metrics of other rows after each tree."""

from collections.abc import Callable, Mapping
from typing import Any

import xgboost

from ...common.progress import Progress
from .matrix import BINS, Matrix
from .tree_settings import BoostingConfig

# A training ends after this many trees without gain, and keeps the best number of trees.
EARLY_STOPPING = 50
# The share of the rows drawn for each tree.
_SUBSAMPLE = 0.8
# Our names of the validation metrics by XGBoost's names. The last decides when to stop.
METRICS = {"auc": "auc", "aucpr": "average_precision", "logloss": "logloss"}
# Called with the number of trees and the metrics of the validation rows.
AfterTree = Callable[[int, Mapping[str, float]], None]


def fit(
    train: Matrix,
    valid: Matrix | None,
    config: BoostingConfig,
    device: str,
    threads: int,
    after_tree: AfterTree | None = None,
    *,
    start: float | None = None,
) -> tuple[xgboost.Booster, dict[str, list[float]]]:
    """The trees up to the best, and the metrics of the validation rows after each tree.

    Without validation rows, it returns all trees and no metrics. `after_tree` may raise to end the
    training. `start` is the probability that trees begin with; by default, the share of clicks.
    """
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "device": device,
        "nthread": threads,
        "learning_rate": config.learning_rate,
        "max_depth": config.max_depth,
        "min_child_weight": config.min_child_weight,
        "lambda": config.l2,
        "subsample": _SUBSAMPLE,
        "colsample_bytree": config.colsample,
        "max_bin": BINS,
        "seed": config.seed,
        "eval_metric": [*METRICS],
    }
    if start is not None:
        settings["base_score"] = start
    results: dict[str, dict[str, list[float]]] = {}
    progress = Progress("grown", config.trees, "trees")

    def grown(metrics: dict[str, float]) -> None:
        progress.advance(1)
        if after_tree is not None:
            after_tree(progress.done, metrics)

    booster = xgboost.train(
        settings,
        train,
        config.trees,
        evals=[(valid, "valid")] if valid else [],
        evals_result=results,
        early_stopping_rounds=EARLY_STOPPING if valid else None,
        callbacks=[_AfterTree(grown)] if valid else [],
        verbose_eval=False,
    )
    curves = {ours: results["valid"][name] if valid else [] for name, ours in METRICS.items()}
    # Predictions need no other trees, so the file has no others.
    return booster[: booster.best_iteration + 1] if valid else booster, curves


class _AfterTree(xgboost.callback.TrainingCallback):
    """Calls a function with the metrics of the validation rows after each tree."""

    def __init__(self, function: Callable[[dict[str, float]], None]) -> None:
        super().__init__()
        self.function = function

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Called by XGBoost; true would end the training."""
        self.function({ours: evals_log["valid"][name][-1] for name, ours in METRICS.items()})
        return False
