"""Learning curves of one model in float32 and in half precision, side by side.

    python benchmarks/precision.py --seeds 1 2 3 4 --epochs 2

Makes simulated data in a temporary folder and trains each precision with each seed at a learning
rate that is held: a cut after an epoch without gain would turn a small difference into a large
one. A seed gives all the same start values, order of rows and draws of dropout; `nudged` is float32
with start values that are 0.1 % off, to show what any small difference grows to. Prints each curve,
then means and standard deviations over the seeds, and the differences to float32: their mean, its
standard error, and the mean in units of float32's standard deviation.
"""

import argparse
import tempfile
from pathlib import Path

import data
import numpy as np
import torch

from feseq.config.catalog import size_settings
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.dataset.batches import BatchSource
from feseq.dataset.feature_map import FeatureMap
from feseq.model.build import build_model
from feseq.model.device import start_runtime
from feseq.predict.prediction import inference_source, predict_logits
from feseq.train.judge import click_metrics
from feseq.train.step import Loss, Stepper

FIGURES = ("train loss", "validation AUC", "validation logloss")
NUDGE = 1e-3


def curve(folder: Path, name: str, seed: int, options: argparse.Namespace) -> np.ndarray:
    """Figures [epochs, 3] of one training; `name` is a precision or "nudged"."""
    precision = "float32" if name == "nudged" else name
    runtime = Runtime(device=options.device, precision=precision)
    machine = start_runtime(runtime, options.threads)
    fields = FeatureMap.read(folder / "feature_map.json")
    settings = size_settings(data.CONFIG, options.size)
    torch.manual_seed(seed)
    config = ModelConfig(max_len=options.max_len, **settings["model"])
    model = build_model(config, fields)
    if name == "nudged":
        nudge(model, seed)
    model.to(machine.device).train()
    rate, norm = (settings["train"][key] for key in ("learning_rate", "max_grad_norm"))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    stepper = Stepper(model, optimizer, Loss(), machine, max_grad_norm=norm, seed=seed)
    train = BatchSource(
        folder / "train.h5", fields, max_len=options.max_len, batch_rows=options.batch_rows
    )
    valid = inference_source(folder / "valid.h5", fields, config, machine)
    label = valid.table.column("label")
    figures = []
    for epoch in range(1, options.epochs + 1):
        for batch in train.shuffled(seed, epoch):
            stepper.take(batch)
        metrics = click_metrics(label, predict_logits(model, valid, machine), label.mean())
        figures.append([stepper.mean_loss(), metrics["auc"], metrics["logloss"]])
    return np.array(figures)


def nudge(model: torch.nn.Module, seed: int) -> None:
    """Multiply each weight by about 1, without a draw from the generator that training uses."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 1 + NUDGE * torch.randn(weight.shape, generator=random)


def print_means(curves: dict[str, np.ndarray]) -> None:
    """One row per epoch and figure; `curves` [seeds, epochs, 3] by precision, float32 first."""
    full = curves["float32"]
    others = [name for name in curves if name != "float32"]
    columns = ["epoch", "figure", "float32"]
    for name in others:
        columns += [name, "difference", "in spreads"]
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for epoch in range(full.shape[1]):
        for number, figure in enumerate(FIGURES):
            spread = full[:, epoch, number].std(ddof=1)
            cells = [str(epoch + 1), figure, _mean(full[:, epoch, number])]
            for name in others:
                half = curves[name][:, epoch, number]
                difference = half - full[:, epoch, number]
                error = difference.std(ddof=1) / len(difference) ** 0.5
                cells.append(_mean(half))
                cells.append(f"{difference.mean():+.5f} ± {error:.5f}")
                cells.append(f"{difference.mean() / spread:+.2f}")
            print(f"| {' | '.join(cells)} |")


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.5f} ({values.std(ddof=1):.5f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="full")
    parser.add_argument("--rows", type=int, default=75_000)
    parser.add_argument("--valid_share", type=float, default=0.4)
    parser.add_argument("--mean_length", type=float, default=20)
    parser.add_argument("--max_len", type=int, default=20)
    parser.add_argument("--batch_rows", type=int, default=225)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--precisions", nargs="+", default=["bfloat16"], help="beside float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    data.keep_freed_memory()
    names = ("float32", "nudged", *options.precisions)
    curves: dict[str, list[np.ndarray]] = {name: [] for name in names}
    print(f"| precision | seed | epoch | {' | '.join(FIGURES)} |\n|{'---|' * 6}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data.make(folder, options.rows, options.mean_length, options.valid_share)
        data.train_to_h5(folder, options.threads)
        data.feature_map(folder, options.threads)
        for seed in options.seeds:
            for name, found in curves.items():
                found.append(curve(folder, name, seed, options))
                for epoch, figures in enumerate(found[-1], start=1):
                    cells = " | ".join(f"{figure:.5f}" for figure in figures)
                    print(f"| {name} | {seed} | {epoch} | {cells} |", flush=True)
    if len(options.seeds) > 1:
        print_means({name: np.stack(found) for name, found in curves.items()})


if __name__ == "__main__":
    main()
