"""Training of gradient boosting: from H5 files and a feature map to the model and its figures."""

import csv
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xgboost

from ..common.errors import UserError
from ..common.files import read_json, write_json, written_beside
from ..config.boosting import BoostingConfig
from ..config.runtime import Runtime
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.joined import open_table, train_rows
from ..dataset.store import H5Table
from ..machine.memory import peak_memory
from .device import choose_device
from .features import Features, fit_features, unknown_shares
from .matrix import quantile_matrix
from .model_file import BoostedModel

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0
# Figures of the validation rows by XGBoost's name.
_METRICS = {"auc": "auc", "aucpr": "average_precision", "logloss": "logloss"}
_VALID_FIGURES = [f"valid_{name}" for name in _METRICS.values()]


def train_boosting(
    train_h5: Path,
    valid_h5: Path,
    feature_map_json: Path,
    config: BoostingConfig,
    outputs: Mapping[str, Path],
    *,
    runtime: Runtime,
    threads: int = 1,
    followed: Path | None = None,
    full_name: str = "",
    folds: Path | None = None,
    fold: int = 0,
) -> None:
    """Train a model; write `outputs`: history (CSV), training (JSON), and, last, model.

    With `followed`, the training.json of an earlier training, as many trees as that one kept are
    trained on the rows of both files, or with `folds` on those of the train file that belong to the
    training of number `fold`; the validation figures are the earlier one's.

    The same data, settings and number of threads give the same model on the same machine. An
    interrupted training begins again.
    """
    started = time.monotonic()
    device = choose_device(runtime.device)
    feature_map = FeatureMap.read(feature_map_json)
    before: dict[str, Any] = read_json(followed) if followed else {}
    rows = train_rows(train_h5, valid_h5, followed, folds, fold)
    with open_table(rows) as train, H5Table(valid_h5) as valid:
        check_one_draw(feature_map, train, train if before else valid, full_name)
        click_rate = _checked_click_rate(train)
        unknown = before.get("unknown_shares") or _unknown_shares(valid, feature_map, config)
        own, features = fit_features(train, feature_map, config, unknown)
        matrix = quantile_matrix(train, own, threads=threads)
        valid_matrix = None
        if not before:
            valid_matrix = quantile_matrix(valid, features, like=matrix, threads=threads)
        else:
            config = config.model_copy(update={"trees": before["trees"]})
        _log_rows(train, None if before else valid, features)
        booster, curves = fit(matrix, valid_matrix, config, device, threads, runtime.verbosity)
        _write_history(outputs["history"], curves)
        seconds = time.monotonic() - started
        about = {
            **(_figures(booster, curves) or {name: before[name] for name in _VALID_FIGURES}),
            # The figures are those of an earlier training, whose trees this one has on all rows.
            "refit": bool(before),
            "trees": booster.num_boosted_rounds(),
            "features": len(features.columns()),
            "unknown_shares": unknown,
            "train_rows": train.rows,
            "valid_rows": 0 if before else valid.choosing_rows,
            "seconds": round(seconds, 3),
            "samples_per_second": round(train.rows / seconds, 1),
            "peak_memory_bytes": peak_memory(),
            "device": device,
            "simulated_data": train.source["simulated"],
            "settings": config.model_dump(),
        }
        write_json(outputs["training"], about)
        made_from = (train.source["simulated"], click_rate, full_name)
        BoostedModel(booster, features, *made_from).save(outputs["model"])


def _unknown_shares(
    valid: H5Table, feature_map: FeatureMap, config: BoostingConfig
) -> dict[str, float]:
    """The share of train rows that shall have an unknown category, by column."""
    shares = unknown_shares(valid, feature_map)
    if config.unknown_share != "auto":
        return dict.fromkeys(shares, config.unknown_share)
    return shares


def _checked_click_rate(train: H5Table) -> float:
    if train.source["simulated"]:
        logger.warning("training on SIMULATED data: this model knows nothing of real clicks")
    click_rate = float(train.column("label").mean())
    if click_rate in (0, 1):
        raise UserError(
            f"{train.path}: label {click_rate:.0f} in all of its {train.rows:,} rows, from which "
            f"nothing can be learned; raise sizes.<size>.rows"
        )
    return click_rate


def fit(
    train: xgboost.QuantileDMatrix,
    valid: xgboost.QuantileDMatrix | None,
    config: BoostingConfig,
    device: str,
    threads: int,
    verbosity: int = 1,
) -> tuple[xgboost.Booster, dict[str, list[float]]]:
    """The trees up to the best, and the figures of the validation rows after each tree.

    Without such rows, all trees and no figures.
    """
    # The last one decides when to stop.
    monitor = next(name for name, ours in _METRICS.items() if ours == config.monitor)
    metrics = [name for name in _METRICS if name != monitor] + [monitor]
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "device": device,
        "nthread": threads,
        "learning_rate": config.learning_rate,
        "max_depth": config.max_depth,
        "min_child_weight": config.min_child_weight,
        "lambda": config.l2,
        "subsample": config.subsample,
        "colsample_bytree": config.colsample,
        "max_bin": config.max_bins,
        "seed": config.seed,
        "eval_metric": metrics,
    }
    found: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        settings,
        train,
        config.trees,
        evals=[(valid, "valid")] if valid else [],
        evals_result=found,
        early_stopping_rounds=config.early_stopping if valid else None,
        callbacks=[_Log(config, verbosity)] if valid else [],
        verbose_eval=False,
    )
    if valid is None:
        return booster, {name: [] for name in _METRICS.values()}
    # Predictions need no more, and the file should hold no more.
    return booster[: booster.best_iteration + 1], {
        ours: found["valid"][name] for name, ours in _METRICS.items()
    }


def _figures(booster: xgboost.Booster, curves: Mapping[str, list[float]]) -> dict[str, float]:
    """The validation rows' figures after the last tree kept; none without such rows."""
    last = booster.num_boosted_rounds() - 1
    return {f"valid_{name}": values[last] for name, values in curves.items() if values}


def _log_rows(train: H5Table, valid: H5Table | None, features: Features) -> None:
    logger.info(
        "%s train rows, %s validation rows, %d features",
        f"{train.rows:,}",
        f"{valid.choosing_rows:,}" if valid else "no",
        len(features.columns()),
    )


class _Log(xgboost.callback.TrainingCallback):
    """A line of the log every half minute."""

    def __init__(self, config: BoostingConfig, verbosity: int) -> None:
        super().__init__()
        self.trees = config.trees
        self.quiet = verbosity == 0
        self.last_line = time.monotonic()

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Called after each tree; true would end the training."""
        now = time.monotonic()
        if not self.quiet and now - self.last_line >= _SECONDS_BETWEEN_LINES:
            self.last_line = now
            _log_tree(epoch + 1, self.trees, evals_log["valid"])
        return False

    def after_training(self, model: Any) -> Any:
        """Called at the end."""
        return model


def _log_tree(tree: int, trees: int, figures: Mapping[str, list[float]]) -> None:
    logger.info(
        "tree %d of at most %d: validation AUC %.5f, logloss %.5f",
        tree,
        trees,
        figures["auc"][-1],
        figures["logloss"][-1],
    )


def _write_history(path: Path, curves: Mapping[str, list[float]]) -> None:
    """One line a tree: the figures of the validation rows after it."""
    with written_beside(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tree", *curves])
        writer.writerows([i, *row] for i, row in enumerate(zip(*curves.values()), 1))
