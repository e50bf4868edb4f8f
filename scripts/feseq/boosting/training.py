"""Training of gradient boosting: from H5 files and a feature map to the model and its metrics."""

import csv
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xgboost

from ..common.errors import UserError
from ..common.files import folder_beside, read_json, write_json, written_beside
from ..common.memory import peak_memory
from ..common.progress import progress
from ..config.boosting import BoostingConfig
from ..config.runtime import Runtime
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.opening import Files, open_table, train_rows
from ..dataset.table import Table, without_holdout
from ..families import Settings
from .device import choose_device
from .features import Features, fit_features, unknown_shares
from .matrix import BINS, Matrix, quantile_matrix
from .model_file import BoostedModel

logger = logging.getLogger(__name__)

# So many trees in a row without gain end a training, and the best number of trees is kept.
EARLY_STOPPING = 50
# Share of the rows drawn for each tree.
_SUBSAMPLE = 0.8
# Metrics of the validation rows by XGBoost's name.
_METRICS = {"auc": "auc", "aucpr": "average_precision", "logloss": "logloss"}
# Called with the number of trees and the metrics of the validation rows.
AfterTree = Callable[[int, Mapping[str, float]], None]


def train(
    train_h5: Files,
    valid_h5: Files,
    feature_map: Path,
    settings: Settings,
    outputs: Mapping[str, Path],
    *,
    runtime: Runtime,
    threads: int = 1,
    replay: Path | None = None,
    full_name: str = "",
    start_from: Path | None = None,
    code: Sequence[str] = (),
) -> None:
    """Train a model; write `outputs`: history (CSV), training (JSON), and, last, model.

    With `replay`, the training.json of an earlier training, as many trees as that one kept are
    trained on train and validation rows; the validation metrics are the earlier one's. The same
    data, settings and number of threads give the same model on the same machine. An interrupted
    training begins again.
    """
    started = time.monotonic()
    config = BoostingConfig.from_values(settings["boosting"], "boosting")
    device = choose_device(runtime.device)
    before: dict[str, Any] = read_json(replay) if replay else {}
    codes = FeatureMap.read(feature_map)
    with (
        open_table(train_rows(train_h5, valid_h5, replay)) as train,
        open_table(valid_h5) as valid,
        folder_beside(outputs["model"].with_name("matrix")) as folder,
    ):
        check_one_draw(codes, train, train if before else valid, full_name)
        click_rate = checked_click_rate(train)
        on_cpu = folder if device == "cpu" else None
        binned = bin_rows((train, valid), codes, config, before, threads, on_cpu)
        config = config.model_copy(update={"trees": before.get("trees", config.trees)})
        booster, curves = fit(binned, config, device, threads, runtime.verbosity)
        _write_history(outputs["history"], curves)
        seconds = time.monotonic() - started
        trees = booster.num_boosted_rounds()
        about = {
            f"valid_{name}": values[trees - 1] if values else before[f"valid_{name}"]
            for name, values in curves.items()
        }
        about |= {
            "refit": bool(before),
            "trees": trees,
            "features": binned.train.num_col(),
            "unknown_shares": binned.unknown,
            "train_rows": train.rows,
            "valid_rows": binned.valid.num_row() if binned.valid else 0,
            "seconds": round(seconds, 3),
            "samples_per_second": round(train.rows / seconds, 1),
            "peak_memory_bytes": peak_memory(),
            "device": device,
            "simulated_data": train.source["simulated"],
            "settings": config.model_dump(),
        }
        write_json(outputs["training"], about)
        made_from = (train.source["simulated"], click_rate, full_name)
        BoostedModel(booster, binned.features, *made_from).save(outputs["model"])
        del binned  # XGBoost removes the matrix's file, whose folder goes next


class Binned(NamedTuple):
    """Binned rows, and the features of other rows; `unknown`: shares by column."""

    features: Features
    train: Matrix
    valid: Matrix | None
    unknown: Mapping[str, float]


def bin_rows(
    tables: tuple[Table, Table],
    feature_map: FeatureMap,
    config: BoostingConfig,
    before: Mapping[str, Any],
    threads: int,
    folder: Path | None,
) -> Binned:
    """The rows of a train and a valid file; a large matrix goes into a file in `folder`, if given.

    For a refit, which has no validation rows, `before` is what the first training wrote.
    """
    train, valid = tables[0], without_holdout(tables[1])
    unknown = before.get("unknown_shares") or unknown_shares(valid, feature_map)
    if not before and config.unknown_share != "auto":
        unknown = dict.fromkeys(unknown, config.unknown_share)
    own, features = fit_features(train, feature_map, config, unknown)
    matrix = quantile_matrix(train, own, threads=threads, folder=folder)
    valid_matrix = (
        None if before else quantile_matrix(valid, features, like=matrix, threads=threads)
    )
    logger.info(
        "%s train rows, %s validation rows, %d features",
        f"{matrix.num_row():,}",
        f"{valid_matrix.num_row():,}" if valid_matrix else "no",
        matrix.num_col(),
    )
    return Binned(features, matrix, valid_matrix, unknown)


def checked_click_rate(train: Table) -> float:
    """The share of clicks; raises UserError if all rows or none are clicks."""
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
    binned: Binned,
    config: BoostingConfig,
    device: str,
    threads: int,
    verbosity: int = 1,
    after_tree: AfterTree | None = None,
) -> tuple[xgboost.Booster, dict[str, list[float]]]:
    """The trees up to the best, and the metrics of the validation rows after each tree.

    Without validation rows, all trees and no metrics. `after_tree` may raise to end the training.
    """
    valid = binned.valid
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
        "subsample": _SUBSAMPLE,
        "colsample_bytree": config.colsample,
        "max_bin": BINS,
        "seed": config.seed,
        "eval_metric": metrics,
    }
    found: dict[str, dict[str, list[float]]] = {}
    with progress("grown", config.trees, "trees", verbosity=verbosity) as growing:

        def grown(metrics: dict[str, float]) -> None:
            growing.show(**metrics)
            growing.advance(1)
            if after_tree is not None:
                after_tree(growing.done, metrics)

        booster = xgboost.train(
            settings,
            binned.train,
            config.trees,
            evals=[(valid, "valid")] if valid else [],
            evals_result=found,
            early_stopping_rounds=EARLY_STOPPING if valid else None,
            callbacks=[_AfterTree(grown)] if valid else [],
            verbose_eval=False,
        )
    curves = {ours: found["valid"][name] if valid else [] for name, ours in _METRICS.items()}
    # Predictions need no more, and the file should hold no more.
    return booster[: booster.best_iteration + 1] if valid else booster, curves


class _AfterTree(xgboost.callback.TrainingCallback):
    """Calls a function with the metrics of the validation rows after each tree."""

    def __init__(self, function: Callable[[dict[str, float]], None]) -> None:
        super().__init__()
        self.function = function

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Called by XGBoost; true would end the training."""
        self.function({ours: evals_log["valid"][name][-1] for name, ours in _METRICS.items()})
        return False


def _write_history(path: Path, curves: Mapping[str, list[float]]) -> None:
    """One line a tree: the metrics of the validation rows after it."""
    with written_beside(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tree", *curves])
        writer.writerows([i, *row] for i, row in enumerate(zip(*curves.values()), 1))
