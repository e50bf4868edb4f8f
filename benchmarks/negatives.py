"""What an epoch of all clicks and a share of the other rows costs and yields.

    python benchmarks/negatives.py --rows 100000 --shares 1 0.5 0.25 0.1 --seeds 1 2

Trains one network on simulated clicks at each share, for as many epochs and for as many steps as
all rows get, and prints, as the mean over the seeds: rows and seconds of an epoch, its evaluation
included; the seconds of making its batches alone; and on the validation rows AUC, average
precision, logloss, the logloss without the shift of the logit, and the mean probability over the
share of clicks.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import data
import numpy as np

from feseq.common.logits import sigmoid
from feseq.config.catalog import size_settings
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from feseq.dataset.feature_map import FeatureMap
from feseq.model.device import start_runtime
from feseq.predict.model_file import TrainedModel
from feseq.predict.prediction import predict_logits
from feseq.train.judge import click_metrics
from feseq.train.run import TrainingRun, opened, train_model

COLUMNS = ("AUC", "AP", "logloss", "logloss unshifted", "mean / click rate")


def measured(
    run: TrainingRun, outputs: dict[str, Path], options: argparse.Namespace
) -> list[float]:
    """Rows of an epoch, its seconds, those of its batches alone, and the figures of COLUMNS."""
    runtime = Runtime(device=options.device, verbosity=0)
    machine = start_runtime(runtime, options.threads)
    with opened(run, FeatureMap.read(run.feature_map_json), machine) as (source, valid):
        started = time.perf_counter()
        rows = sum(len(batch) for batch in source.shuffled(0, 1))
        reading = time.perf_counter() - started
        label = valid.table.column("label")
    started = time.perf_counter()
    train_model(run, outputs, runtime=runtime, threads=options.threads)
    seconds = (time.perf_counter() - started) / run.train_config.epochs
    model = TrainedModel.load(outputs["model"])
    logit = predict_logits(model.network, model.source(run.valid_h5, machine), machine)
    figures = click_metrics(label, logit, model.click_rate)
    unshifted = click_metrics(label, logit - float(model.network.taken_back.logit), 0.5)["logloss"]
    calibration = sigmoid(logit).mean() / label.mean()
    names = ("auc", "average_precision", "logloss")
    return [rows, seconds, reading, *(figures[name] for name in names), unshifted, calibration]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--mean_length", type=float, default=20)
    parser.add_argument("--max_len", type=int, default=50)
    parser.add_argument("--size", default="toy", help="whose network it is")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="+", default=[1, 0.5, 0.25, 0.1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    data.keep_freed_memory()
    settings = size_settings(data.CONFIG, options.size)
    model = ModelConfig(**settings["model"], max_len=options.max_len)
    changes = {"batch_size": 256, "min_steps_per_epoch": 1, "patience": 99, "schedule": "cosine"}
    config = TrainConfig(**(settings["train"] | changes))
    print("| share | epochs | rows an epoch | seconds | reading |", " | ".join(COLUMNS), "|")
    print("|---" * (5 + len(COLUMNS)) + "|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.make(folder, options.rows, options.mean_length, valid_share=0.3)
        data.train_to_h5(folder, options.threads)
        data.feature_map(folder, options.threads)
        files = [folder / file for file in ("train.h5", "valid.h5", "feature_map.json")]
        for share in options.shares:
            for epochs in sorted({options.epochs, round(options.epochs / share)}):
                found = []
                for seed in options.seeds:
                    own = replace(config, epochs=epochs, negative_share=share, seed=seed)
                    own_folder = folder / f"{share:g}-{epochs}-{seed}"
                    outputs = {n: own_folder / n for n in ("model", "history", "training")}
                    found.append(measured(TrainingRun(*files, model, own), outputs, options))
                rows, seconds, reading, *figures = np.mean(found, axis=0)
                shown = " | ".join(f"{figure:.4f}" for figure in figures)
                start = f"| {share:g} | {epochs} | {rows:,.0f} | {seconds:.1f} | {reading:.2f} |"
                print(start, shown, "|", flush=True)


if __name__ == "__main__":
    main()
