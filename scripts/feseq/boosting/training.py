"""Training of gradient boosting: from H5 files and a feature map to the model and its metrics."""

import csv
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xgboost
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ..common.errors import UserError
from ..common.files import folder_beside, read_json, write_json, written_beside
from ..common.logits import log_odds, sigmoid
from ..common.memory import peak_memory
from ..config.boosting import FEATURE_SETS, BoostingConfig
from ..config.runtime import Runtime
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.negatives import NegativeDraw
from ..dataset.opening import Files, open_table, train_rows
from ..dataset.table import SomeRows, Table, without_holdout
from ..families import Settings
from .choice import choose_sets
from .device import choose_device
from .features import Features, fit_features, unknown_shares
from .matrix import Matrix, quantile_matrix
from .model_file import BoostedModel
from .trees import fit

logger = logging.getLogger(__name__)


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
        made = make_features((train, valid), codes, config, before, device, threads)
        place = folder if device == "cpu" else None
        options = (device, threads, place, runtime.verbosity)
        grown = grow((train, valid), made, config, before, *options)
        _write_history(outputs["history"], grown.curves)
        seconds = time.monotonic() - started
        metrics = {name: before[name] for name in before if name.startswith("valid_")}
        about = {
            **(metrics if before else grown.metrics),
            "refit": bool(before),
            "trees": [booster.num_boosted_rounds() for booster in grown.boosters],
            "features": len(made.features.columns()),
            "feature_sets": list(made.features.sets),
            "sets_tried": made.tried,
            "unknown_shares": made.unknown,
            "train_rows": train.rows,
            "rows_per_bag": grown.rows_per_bag,
            "valid_rows": 0 if before else without_holdout(valid).rows,
            "seconds": round(seconds, 3),
            "samples_per_second": round(train.rows / seconds, 1),
            "peak_memory_bytes": peak_memory(),
            "device": device,
            "simulated_data": train.source["simulated"],
            "settings": config.model_dump(),
        }
        write_json(outputs["training"], about)
        made_from = (train.source["simulated"], click_rate, full_name)
        BoostedModel(grown.boosters, made.features, config, *made_from).save(outputs["model"])


class Made(NamedTuple):
    """The features of train rows, `own`, and of others.

    `unknown`: shares by column. `tried`: what each set of features did, if they were chosen.
    """

    own: Features
    features: Features
    unknown: Mapping[str, float]
    tried: list[dict[str, Any]]


def make_features(
    tables: tuple[Table, Table],
    feature_map: FeatureMap,
    config: BoostingConfig,
    before: Mapping[str, Any],
    device: str,
    threads: int,
) -> Made:
    """The features of a train and a validation table, of the sets that are given or chosen.

    For a refit, which has no validation rows, `before` is what the first training wrote.
    """
    train, valid = tables[0], without_holdout(tables[1])
    unknown = before.get("unknown_shares") or unknown_shares(valid, feature_map)
    if not before and config.unknown_share != "auto":
        unknown = dict.fromkeys(unknown, config.unknown_share)
    sets = before.get("feature_sets", config.features)
    is_free, tried = sets == "auto", before.get("sets_tried", [])
    own, features = fit_features(train, feature_map, FEATURE_SETS if is_free else sets, unknown)
    if is_free:
        tried = choose_sets((train, valid), (own, features), device, threads)
        kept = [entry["set"] for entry in tried if entry["kept"]]
        own, features = own.with_sets(kept), features.with_sets(kept)
    return Made(own, features, unknown, tried)


class Bag(NamedTuple):
    """The binned rows of a bag and of validation, which a refit has not, and `start` of `fit`."""

    train: Matrix
    valid: Matrix | None
    start: float | None


def bin_rows(
    tables: tuple[Table, Table],
    made: Made,
    config: BoostingConfig,
    bag: int,
    threads: int,
    folder: Path | None,
    *,
    is_refit: bool = False,
) -> Bag:
    """The rows of a bag; a large matrix goes into a file in `folder`, if given."""
    train, valid_matrix, start, label = tables[0], None, None, tables[0].column("label")
    if config.negative_share < 1:
        draw = NegativeDraw(label, config.negative_share, len(label), "boosting.negative_share")
        train = SomeRows(train, draw.drawn(0, label, config.seed, bag))
    matrix = quantile_matrix(train, made.own, threads=threads, folder=folder)
    if config.negative_share < 1:
        # The odds of a click among the drawn rows are 1 / kept_share times those among all rows.
        # Trees that start from the former say what a row adds to either.
        start = float(label.mean())
        margin = log_odds(start) - math.log(draw.kept_share)
        matrix.set_base_margin(np.full(train.rows, margin, np.float32))
    if not is_refit:
        valid = without_holdout(tables[1])
        valid_matrix = quantile_matrix(valid, made.features, like=matrix, threads=threads)
    logger.info(
        "%s train rows, %s validation rows, %d features",
        f"{matrix.num_row():,}",
        f"{valid_matrix.num_row():,}" if valid_matrix else "no",
        matrix.num_col(),
    )
    return Bag(matrix, valid_matrix, start)


class Grown(NamedTuple):
    """The trees of all bags, the first bag's curves, and metrics of the bags' mean."""

    boosters: list[xgboost.Booster]
    curves: Mapping[str, list[float]]
    metrics: Mapping[str, float]
    rows_per_bag: int


def grow(
    tables: tuple[Table, Table],
    made: Made,
    config: BoostingConfig,
    before: Mapping[str, Any],
    device: str,
    threads: int,
    folder: Path | None,
    verbosity: int,
) -> Grown:
    """Trees bag by bag: as many as validation rows want, or as the first training had, `before`."""
    boosters, logits, curves, valid, rows = [], [], [], None, 0
    for bag in range(config.bags):
        changes = {"seed": (config.seed + bag) % 2**31}
        if before:
            changes["trees"] = before["trees"][bag]
        options = (threads, folder)
        matrix, valid, start = bin_rows(tables, made, config, bag, *options, is_refit=bool(before))
        rows = matrix.num_row()
        of_bag = config.model_copy(update=changes)
        booster, curve = fit(matrix, valid, of_bag, device, threads, verbosity, start=start)
        del matrix  # XGBoost removes its file, in whose place the next one goes
        boosters.append(booster)
        curves.append(curve)
        if valid is not None:
            logits.append(booster.predict(valid, output_margin=True))
    if len(boosters) == 1:
        last = boosters[0].num_boosted_rounds() - 1
        metrics = {f"valid_{name}": values[last] for name, values in curves[0].items() if values}
    elif valid is None:
        metrics = {}
    else:
        label, logit = valid.get_label(), np.stack(logits).mean(axis=0, dtype=np.float64)
        metrics = {
            "valid_auc": float(roc_auc_score(label, logit)),
            "valid_average_precision": float(average_precision_score(label, logit)),
            "valid_logloss": float(log_loss(label, sigmoid(logit))),
        }
    return Grown(boosters, curves[0], metrics, rows)


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


def _write_history(path: Path, curves: Mapping[str, list[float]]) -> None:
    """One line a tree of the first bag: the metrics of the validation rows after it."""
    with written_beside(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tree", *curves])
        writer.writerows([i, *row] for i, row in enumerate(zip(*curves.values()), 1))
