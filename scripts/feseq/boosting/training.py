"""Training of gradient boosting: from H5 files and a feature map to the model and its metrics."""

import csv
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import UserError
from ..common.files import folder_beside, read_json, write_json, written_beside
from ..common.memory import peak_memory
from ..config.boosting import FEATURE_SETS, BoostingConfig
from ..config.runtime import Runtime
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.opening import Files, open_table, train_rows
from ..dataset.table import Table, without_holdout
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
        on_cpu = folder if device == "cpu" else None
        binned = bin_rows((train, valid), codes, config, before, device, threads, on_cpu)
        config = config.model_copy(update={"trees": before.get("trees", config.trees)})
        booster, curves = fit(
            binned.train, binned.valid, config, device, threads, runtime.verbosity
        )
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
            "feature_sets": list(binned.features.sets),
            "sets_tried": binned.tried,
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
        BoostedModel(booster, binned.features, config, *made_from).save(outputs["model"])
        del binned  # XGBoost removes the matrix's file, whose folder goes next


class Binned(NamedTuple):
    """Binned rows, and the features of other rows.

    `unknown`: shares by column. `tried`: what each set of features did, if they were chosen.
    """

    features: Features
    train: Matrix
    valid: Matrix | None
    unknown: Mapping[str, float]
    tried: list[dict[str, Any]]


def bin_rows(
    tables: tuple[Table, Table],
    feature_map: FeatureMap,
    config: BoostingConfig,
    before: Mapping[str, Any],
    device: str,
    threads: int,
    folder: Path | None,
) -> Binned:
    """The rows of a train and a valid file, with the sets of features that are set or chosen.

    A large matrix goes into a file in `folder`, if given. For a refit, which has no validation
    rows, `before` is what the first training wrote.
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
    return Binned(features, matrix, valid_matrix, unknown, tried)


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
    """One line a tree: the metrics of the validation rows after it."""
    with written_beside(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tree", *curves])
        writer.writerows([i, *row] for i, row in enumerate(zip(*curves.values()), 1))
