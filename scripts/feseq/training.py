"""Training of one FESeq model: Adam, validation, learning-rate cuts, early stop, best weights."""

import csv
import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .account import account
from .batches import Batch, BatchSource
from .errors import UserError
from .feature_map import FeatureMap
from .files import written_beside
from .inference import (
    TrainedModel,
    build_model,
    field_sizes,
    inference_source,
    predict_probabilities,
)
from .metrics import click_metrics
from .model import FESeq, ModelConfig
from .model.history import TimeEmbedding
from .runtime import Machine
from .steps import Loss, Stepper
from .store import H5Table

logger = logging.getLogger(__name__)

# Of events whose times tell the model nothing; more are worth a warning.
_ODD_SHARE = 0.9


@dataclass(frozen=True)
class TrainConfig:
    """How to train; the names and meaning of the config file's `train` keys."""

    batch_size: int
    min_steps_per_epoch: int
    epochs: int
    learning_rate: float
    max_grad_norm: float
    embedding_l2: float
    label_smoothing: float
    pos_weight: float
    eval_steps: int | None
    patience: int
    monitor: Mapping[str, float]
    seed: int

    def batch_rows(self, rows: int) -> int:
        """Rows of a step: batch_size, or fewer where `rows` train rows make too few steps."""
        fewer = max(1, rows // self.min_steps_per_epoch)
        if fewer >= self.batch_size:
            return self.batch_size
        logger.warning(
            "batch_size %s makes only %d steps of %s train rows: using %d, for "
            "train.min_steps_per_epoch %d",
            f"{self.batch_size:,}",
            -(-rows // self.batch_size),
            f"{rows:,}",
            fewer,
            self.min_steps_per_epoch,
        )
        return fewer


@dataclass(frozen=True)
class Evaluation:
    """One row of history.csv. `train_loss` is the mean since the evaluation before."""

    epoch: int
    step: int
    train_loss: float
    auc: float
    logloss: float
    monitor: float
    learning_rate: float
    seconds: float


@dataclass
class Plateau:
    """Decides at each evaluation: better, cut the learning rate, or stop.

    An evaluation that is no better than the best before cuts the learning rate; `patience` of
    them in a row end the training.
    """

    patience: int
    best: float = float("-inf")
    rounds_without_gain: int = 0

    def is_better(self, monitor: float) -> bool:
        """Take note of an evaluation; True if it is the best so far."""
        if monitor > self.best:
            self.best, self.rounds_without_gain = monitor, 0
            return True
        self.rounds_without_gain += 1
        return False

    @property
    def is_over(self) -> bool:
        """True once `patience` evaluations in a row brought no gain."""
        return self.rounds_without_gain >= self.patience


@dataclass
class Trainer:
    """One training run. `fit` leaves the best weights in `model` and fills `history`."""

    model: FESeq
    train: BatchSource
    valid: BatchSource
    config: TrainConfig
    machine: Machine
    verbosity: int = 1
    history: list[Evaluation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model.to(self.machine.device)
        self.stepper = Stepper(
            self.model,
            torch.optim.Adam(self.model.parameters(), lr=self.config.learning_rate, fused=True),
            Loss(self.config.label_smoothing, self.config.pos_weight),
            self.machine,
            max_grad_norm=self.config.max_grad_norm,
            embedding_l2=self.config.embedding_l2,
        )
        self.valid_label = self.valid.table.file["label"][:]
        self.plateau = Plateau(self.config.patience)
        self.best_weights: dict[str, torch.Tensor] = {}

    def fit(self) -> None:
        """Train for `epochs` epochs or until there is no gain left."""
        started = time.monotonic()
        with self._progress_bar() as progress:
            for epoch in range(1, self.config.epochs + 1):
                self.model.train()
                for batch in self.train.shuffled(self.config.seed, epoch):
                    self.stepper.take(batch)
                    progress.update(len(batch))
                    if self.verbosity > 1 and self.step % 20 == 0:
                        progress.set_postfix(loss=self.stepper.running_loss())
                    if self.config.eval_steps and self.step % self.config.eval_steps == 0:
                        self._evaluate(epoch, started)
                        if self.plateau.is_over:
                            break
                if not self.config.eval_steps:
                    self._evaluate(epoch, started)
                if self.plateau.is_over:
                    logger.info("no gain in %d evaluations: stopping", self.config.patience)
                    break
        if not self.history or self.history[-1].step < self.step:
            self._evaluate(epoch, started)
        self.model.load_state_dict(self.best_weights)

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.stepper.step

    def _evaluate(self, epoch: int, started: float) -> None:
        train_loss = self.stepper.mean_loss()
        probability = predict_probabilities(self.model, self.valid, self.machine)
        metrics = click_metrics(self.valid_label, probability)
        monitor = sum(weight * metrics[name] for name, weight in self.config.monitor.items())
        if not math.isfinite(monitor):
            raise UserError(
                f"the validation metrics at step {self.step} are {metrics}, of "
                f"{len(self.valid_label):,} rows with {int(self.valid_label.sum()):,} clicks; both "
                f"labels and finite predictions are needed: lower train.learning_rate or raise "
                f"sampling.valid_share"
            )
        evaluation = Evaluation(
            epoch=epoch,
            step=self.step,
            train_loss=train_loss,
            monitor=monitor,
            learning_rate=self._learning_rate,
            seconds=round(time.monotonic() - started, 2),
            **metrics,
        )
        self.history.append(evaluation)
        is_better = self.plateau.is_better(monitor)
        if is_better:
            self.best_weights = {
                name: value.detach().clone() for name, value in self.model.state_dict().items()
            }
        else:
            for group in self.stepper.optimizer.param_groups:
                group["lr"] *= 0.1
        logger.info(
            "epoch %d, step %d: train loss %.5f, validation AUC %.5f, logloss %.5f%s",
            epoch,
            self.step,
            train_loss,
            evaluation.auc,
            evaluation.logloss,
            " (best so far)" if is_better else f", no gain, learning rate {self._learning_rate:g}",
        )

    @property
    def _learning_rate(self) -> float:
        return self.stepper.optimizer.param_groups[0]["lr"]

    def _progress_bar(self) -> tqdm:
        """0: none; 1: a bar, in a file redrawn now and then; 2: redrawn often, with the loss."""
        return tqdm(
            total=self.config.epochs * self.train.rows,
            unit=" samples",
            unit_scale=True,
            disable=self.verbosity == 0,
            mininterval=0.5 if self.verbosity > 1 or sys.stderr.isatty() else 10,
            dynamic_ncols=True,
        )


def train_model(
    train_h5: Path,
    valid_h5: Path,
    feature_map_json: Path,
    outputs: Mapping[str, Path],
    *,
    model_config: ModelConfig,
    train_config: TrainConfig,
    machine: Machine,
    verbosity: int = 1,
) -> None:
    """Train a model; write `outputs`: history (CSV), metrics (JSON), and, last, model."""
    torch.manual_seed(train_config.seed)
    feature_map = FeatureMap.read(feature_map_json)
    max_len = model_config.max_len
    with H5Table(train_h5) as table:
        batch_rows = train_config.batch_rows(table.rows)
    train = BatchSource(train_h5, feature_map, max_len=max_len, batch_rows=batch_rows)
    valid = inference_source(valid_h5, feature_map, max_len, machine)
    if train.table.source["simulated"]:
        logger.warning("training on SIMULATED data: this model knows nothing of real clicks")
    model = build_model(model_config, feature_map)
    if model.time is not None:
        _warn_of_odd_times(model.time, next(train.in_order(0, batch_rows)))
    logger.info(
        "%s train rows, %s validation rows, max_len %d, %s parameters",
        f"{train.rows:,}",
        f"{valid.rows:,}",
        max_len,
        f"{sum(parameter.numel() for parameter in model.parameters()):,}",
    )
    trainer = Trainer(model, train, valid, train_config, machine, verbosity)
    trainer.stepper.micro_rows = _micro_rows(model_config, feature_map, machine, batch_rows)
    model.refiner.recompute = machine.recompute
    trainer.fit()
    _write_history(outputs["history"], trainer.history)
    _write_metrics(outputs["metrics"], trainer)
    simulated = train.table.source["simulated"]
    TrainedModel(model, model_config, feature_map, simulated).save(outputs["model"])


def _warn_of_odd_times(time: TimeEmbedding, batch: Batch) -> None:
    """Times of events and rows in different units give intervals that tell nothing."""
    assert batch.elapsed_T is not None, "a model with times needs a table with times"
    is_last_T = time.buckets(batch.elapsed_T) == time.last_bucket
    shares = {
        "later than their row": (batch.elapsed_T == 0).double().mean().item(),
        "in the last time bucket": is_last_T.double().mean().item(),
    }
    for what, share in shares.items():
        if share > _ODD_SHARE:
            logger.warning(
                "%.0f %% of the first %d rows' events are %s: have the times of events and rows "
                "the same unit, and fit model.time_buckets and time_log_base to it?",
                100 * share,
                len(batch),
                what,
            )


def _micro_rows(
    config: ModelConfig, feature_map: FeatureMap, machine: Machine, batch_rows: int
) -> int:
    """Rows of a batch that fit into memory at once; raises UserError if not one does."""
    memory = machine.memory()
    needed = account(config, field_sizes(feature_map), machine.precision, machine.recompute)
    rows = min(batch_rows, needed.rows_in(memory))
    there = f"{memory / 2**20:,.0f} MiB of memory"
    if rows == 0:
        advice = "a smaller max_len or model" + ("" if machine.recompute else ", recompute: true")
        raise UserError(
            f"{there} (runtime.memory_gib) do not hold the training of a single row, which needs "
            f"{needed.step(1) / 2**20:,.0f} MiB; raise it, or use {advice}"
        )
    if rows < batch_rows:
        logger.info(
            "%s: batches of %d rows in micro-batches of %d, whose gradients add up to the batch's",
            there,
            batch_rows,
            rows,
        )
    return rows


def _write_history(path: Path, history: list[Evaluation]) -> None:
    with written_beside(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(history[0])))
        writer.writeheader()
        writer.writerows(asdict(evaluation) for evaluation in history)


def _write_metrics(path: Path, trainer: Trainer) -> None:
    best = max(trainer.history, key=lambda evaluation: evaluation.monitor)
    seconds = trainer.history[-1].seconds
    metrics: dict[str, Any] = {
        "valid_auc": best.auc,
        "valid_logloss": best.logloss,
        "best_epoch": best.epoch,
        "best_step": best.step,
        "epochs": trainer.history[-1].epoch,
        "steps": trainer.step,
        "batch_rows": trainer.train.batch_rows,
        "train_rows": trainer.train.rows,
        "valid_rows": trainer.valid.rows,
        "seconds": seconds,
        "device": str(trainer.machine.device),
        "precision": str(trainer.machine.precision).removeprefix("torch."),
        "micro_batch_rows": trainer.stepper.micro_rows,
        "simulated_data": trainer.train.table.source["simulated"],
    }
    with written_beside(path) as temporary:
        temporary.write_text(json.dumps(metrics, indent=1) + "\n")
