"""How much of what can be learned each variant of the model learns, beside baselines.

    python benchmarks/quality.py --rows 50000 --mean_length 20 --max_len 100

Simulates clicks whose true probabilities are known, trains the briefing's and the paper's settings
and the paper's with one part changed at a time (its Tables 4 to 10), and prints AUC, share of the
best possible AUC and time. The same rows go to gradient boosting, with some of its features, to
logistic regression, and to config/leaderboard.yaml: its networks, its boosting, and their blend.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from sklearn.metrics import roc_auc_score
from snakemake.utils import update_config

from feseq.boosting.prediction import predict_validation as predict_boosting
from feseq.boosting.training import train_boosting
from feseq.common.logits import mean_logit
from feseq.config.boosting import BoostingConfig
from feseq.config.catalog import size_settings
from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.config.names import is_boosting
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from feseq.dataset.store import H5Table
from feseq.evaluate.auc import expected_auc
from feseq.evaluate.baselines import fit_baseline
from feseq.evaluate.metrics import share_of_best
from feseq.evaluate.trained_model import predict_validation
from feseq.evaluate.valid_predictions import read_predictions
from feseq.model.device import start_runtime
from feseq.train.run import TrainingRun, train_model

# AUC of the clicks, AUC by the true probabilities, and the best possible one by these.
Figures = tuple[float, float, float]
PAPER = data.CONFIG["variants"]["feseq_paper"]
PRESET = copy.deepcopy(data.CONFIG)
update_config(PRESET, yaml.safe_load((data.REPOSITORY / "config/leaderboard.yaml").read_text()))
# Changes to the paper's settings, one at a time.
ABLATION: dict[str, dict[str, Any]] = {
    "paper": {},
    "without interacting layers": {"interaction_layers": 0, "item_interaction_layers": 0},
    "crossnetv2 for autoint": {"interaction": "crossnetv2"},
    "without positions": {"positions": False},
    "not causal": {"causal": False},
    "target pooling": {"pooling": "target"},
    "mean pooling": {"pooling": "mean"},
    "dot scores": {"score": "dot"},
    "unscaled scores": {"scaled_scores": False},
    "din scores": {"score": "din"},
    "with layer norm": {"layer_norm": True},
}


def variants(max_len: int) -> dict[str, ModelConfig]:
    """The models by name."""
    shared = data.CONFIG["model"]
    briefing = ModelConfig(max_len=max_len, **size_settings(data.CONFIG, "medium")["model"])
    paper = ModelConfig(max_len=max_len, **(shared | PAPER["model"]))
    return {"briefing": briefing} | {name: replace(paper, **c) for name, c in ABLATION.items()}


def boostings() -> dict[str, BoostingConfig]:
    """Models of boosting by name: the default, and with some of its features."""
    default = BoostingConfig(**size_settings(data.CONFIG, "medium")["boosting"])
    changes: dict[str, dict[str, Any]] = {
        "boosting": {},
        "boosting, no shares of codes": {"top_codes": 0},
        "boosting, shares of all codes": {"top_codes": 300},
        "boosting, and shares of 32 groups": {"bag": 32},
        "boosting, no histories": {"histories": False},
    }
    return {name: default.model_copy(update=change) for name, change in changes.items()}


def train(
    folder: Path,
    model: ModelConfig,
    options: argparse.Namespace,
    preset: Mapping[str, Any] | None = None,
) -> Figures:
    """Figures of one model on the validation rows."""
    default = size_settings(data.CONFIG, "medium")["train"] | {"epochs": options.epochs}
    settings = default if preset is None else preset
    changes = {"batch_size": 256, "min_steps_per_epoch": 1}
    outputs = {name: folder / name for name in ("history", "training", "model")}
    files = (folder / "train.h5", folder / "valid.h5", folder / "feature_map.json")
    run = TrainingRun(*files, model, TrainConfig(**(settings | changes)))
    runtime = Runtime(device=options.device, verbosity=0)
    train_model(run, outputs, runtime=runtime, threads=options.threads)
    machine = start_runtime(runtime, options.threads)
    predicted = [folder / name for name in ("predictions", "speed", "attention")]
    predict_validation(outputs["model"], folder / "valid.h5", *predicted, machine=machine)
    return _figures(folder, predicted[0])


def fit(folder: Path, baseline: str, threads: int) -> Figures:
    """Figures of a baseline on the same columns, with all train rows."""
    outputs = folder / "predictions", folder / "training"
    inputs = folder / "train.h5", folder / "valid.h5", folder / "feature_map.json"
    fit_baseline(baseline, *inputs, *outputs, rows_at_most=2**63, threads=threads)
    return _figures(folder, outputs[0])


def boost(folder: Path, config: BoostingConfig, threads: int) -> Figures:
    """Figures of gradient boosting on the same rows."""
    outputs = {name: folder / name for name in ("model", "history", "training")}
    files = (folder / "train.h5", folder / "valid.h5", folder / "feature_map.json")
    train_boosting(*files, config, outputs, runtime=Runtime(verbosity=0), threads=threads)
    predicted = folder / "predictions", folder / "speed"
    predict_boosting(outputs["model"], folder / "valid.h5", *predicted, threads=threads)
    return _figures(folder, predicted[0])


def _figures(folder: Path, predictions: Path) -> Figures:
    table = read_predictions(predictions)
    return _figures_of(folder, table, table["logit"].to_numpy())


def _figures_of(folder: Path, table: pa.Table, logit: np.ndarray) -> Figures:
    true, _ = _truth(folder, table["row"].to_numpy())
    return roc_auc_score(table["label"], logit), expected_auc(logit, true), expected_auc(true, true)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--mean_length", type=float, default=20)
    parser.add_argument("--max_len", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=4, help="the preset has its own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", nargs="+", help="names of variants; default all")
    options = parser.parse_args()
    data.keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.make(folder, options.rows, options.mean_length)
        data.train_to_h5(folder, options.threads)
        data.feature_map(folder, options.threads)
        _print_head(folder)
        for variant, model in variants(options.max_len).items():
            if not options.only or variant in options.only:
                started = time.perf_counter()
                _print(variant, train(folder, model, options), started)
        for name, config in boostings().items():
            if not options.only or name in options.only:
                started = time.perf_counter()
                _print(name, boost(folder, config, options.threads), started)
        if not options.only or "logistic_regression" in options.only:
            started = time.perf_counter()
            figures = fit(folder, "logistic_regression", options.threads)
            _print("logistic_regression", figures, started)
        run_preset(folder, options)


def run_preset(folder: Path, options: argparse.Namespace) -> None:
    """The models of config/leaderboard.yaml and the mean of their logits."""
    data.feature_map(folder, options.threads, Columns.from_config(PRESET["columns"]))
    logits, started = [], time.perf_counter()
    for name in size_settings(PRESET, "medium")["submission_models"]:
        variant = name.partition("-")[2] or None
        shown = f"preset's {variant or name}"
        if options.only and shown not in options.only:
            continue
        began, settings = time.perf_counter(), size_settings(PRESET, "medium", variant)
        if is_boosting(name):
            figures = boost(folder, BoostingConfig(**settings["boosting"]), options.threads)
        else:
            model = ModelConfig(max_len=options.max_len, **settings["model"])
            figures = train(folder, model, options, settings["train"])
        logits.append(read_predictions(folder / "predictions"))
        _print(shown, figures, began)
    if len(logits) > 1:
        mean = mean_logit([table["logit"].to_numpy() for table in logits], [1] * len(logits))
        _print("preset's, equal weights", _figures_of(folder, logits[0], mean), started)


def _truth(folder: Path, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The true probabilities of train rows, and the best that one can say of new users."""
    truth = pq.read_table(folder / "train_truth.parquet")
    known = (truth["probability"], truth["probability_of_new_user"])
    true, of_new_user = (column.to_numpy()[row] for column in known)
    return true, of_new_user


def _print_head(folder: Path) -> None:
    with H5Table(folder / "valid.h5") as table:
        row, label = table.column("row"), table.column("label")
    true, of_new_user = _truth(folder, row)
    print(
        f"{len(row):,} validation rows, {label.sum():,} clicks. Best possible by the true "
        f"probabilities: {expected_auc(true, true):.4f}; without knowing the users: "
        f"{expected_auc(of_new_user, true):.4f}.\n\n| variant | AUC of the clicks | "
        f"by the true probabilities | share of the best | seconds |\n|---|---|---|---|---|",
        flush=True,
    )


def _print(name: str, figures: Figures, started: float) -> None:
    auc, expected, best = figures
    cells = f"{auc:.4f} | {expected:.4f} | {share_of_best(expected, best):.3f}"
    print(f"| {name} | {cells} | {time.perf_counter() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
