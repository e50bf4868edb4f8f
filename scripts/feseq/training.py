"""Training of one FESeq model: from H5 files and a feature map to the model and its figures."""

import csv
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .account import account
from .batches import Batch, BatchSource
from .curves import Curves
from .errors import NotEnoughMemoryError
from .feature_map import FeatureMap, check_one_draw
from .files import fingerprint, write_json, written_beside
from .inference import TrainedModel, build_model, field_sizes, inference_source
from .model import ModelConfig
from .model.history import TimeEmbedding
from .resume import SavedTraining
from .runtime import Machine
from .store import H5Table
from .trainer import Evaluation, TrainConfig, Trainer

logger = logging.getLogger(__name__)

# Of events whose times tell the model nothing; more are worth a warning.
_ODD_SHARE = 0.9


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
    save_minutes: float = 10,
    tensorboard: bool = False,
    code: Sequence[str] = (),
) -> None:
    """Train a model; write `outputs`: history (CSV), training (JSON), and, last, model.

    With `tensorboard`, event files are written into a folder `tensorboard` beside the model.

    The state is kept in a folder `training_state` beside the model. An interrupted
    training goes on from there if settings, data and `code`, digests of it, are the same, and ends
    like an uninterrupted one on the same machine.
    """
    data = (train_h5, valid_h5, feature_map_json)
    key = training_key(*data, asdict(model_config), asdict(train_config), list(code))
    saved = SavedTraining(outputs["model"].with_name("training_state"), key, save_minutes)
    feature_map = FeatureMap.read(feature_map_json)
    with saved.locked(), ExitStack() as stack:
        trainer = make_trainer(
            train_h5, valid_h5, feature_map, model_config, train_config, machine, verbosity
        )
        if tensorboard:
            rows_per_step = trainer.train.rows / trainer.train.batches_per_epoch
            curves = Curves(outputs["model"].with_name("tensorboard"), rows_per_step)
            trainer.after_evaluation = stack.enter_context(curves).add
        trainer.fit(saved)
        _write_history(outputs["history"], trainer.history)
        settings = asdict(model_config) | asdict(train_config)
        write_json(outputs["training"], _summary(trainer) | {"settings": settings})
        TrainedModel(
            trainer.model,
            model_config,
            feature_map,
            simulated=trainer.train.table.source["simulated"],
            click_rate=float(trainer.train.table.column("label").mean()),
            pos_weight=train_config.pos_weight,
        ).save(outputs["model"])


def training_key(train_h5: Path, valid_h5: Path, feature_map_json: Path, *settings: Any) -> str:
    """A digest of what a training depends on: its data, and `settings`, plain values."""
    inputs = [_origin(train_h5), _origin(valid_h5), fingerprint(feature_map_json)]
    return _digest([*settings, inputs])


def make_trainer(
    train_h5: Path,
    valid_h5: Path,
    feature_map: FeatureMap,
    model_config: ModelConfig,
    train_config: TrainConfig,
    machine: Machine,
    verbosity: int,
) -> Trainer:
    """A trainer at its start, with seeded weights; writes nothing.

    Raises ValueError for a network that cannot be, UserError for files that do not belong together.
    """
    torch.manual_seed(train_config.seed)
    max_len = model_config.max_len
    with H5Table(train_h5) as table:
        batch_rows = train_config.batch_rows(table.rows)
    train = BatchSource(train_h5, feature_map, max_len=max_len, batch_rows=batch_rows)
    valid = inference_source(valid_h5, feature_map, max_len, machine)
    check_one_draw(feature_map, train.table, valid.table)
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
    return trainer


def _origin(h5: Path) -> str:
    with H5Table(h5) as table:
        return f"{table.identity} {table.rows}"


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


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
    """Rows of a batch that fit into memory at once; raises NotEnoughMemoryError if not one does."""
    memory = machine.memory()
    needed = account(config, field_sizes(feature_map), machine.precision, machine.recompute)
    rows = min(batch_rows, needed.rows_in(memory))
    there = f"{memory / 2**20:,.0f} MiB of memory"
    if rows == 0:
        advice = "a smaller max_len or model" + ("" if machine.recompute else ", recompute: true")
        raise NotEnoughMemoryError(
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


def _summary(trainer: Trainer) -> dict[str, Any]:
    """What the training was; `samples_per_second` with its evaluations."""
    best = max(trainer.history, key=lambda evaluation: evaluation.monitor)
    seconds = trainer.history[-1].seconds
    return {
        "valid_auc": best.auc,
        "valid_logloss": best.logloss,
        "best_epoch": best.epoch,
        "best_step": best.step,
        "epochs": trainer.history[-1].epoch,
        "steps": trainer.step,
        "batch_rows": trainer.train.batch_rows,
        "train_rows": trainer.train.rows,
        "valid_rows": trainer.valid.rows,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "seconds": seconds,
        "samples_per_second": trainer.step * trainer.train.batch_rows / max(seconds, 1e-9),
        "peak_memory_bytes": trainer.machine.peak_memory(),
        "device": str(trainer.machine.device),
        "precision": str(trainer.machine.precision).removeprefix("torch."),
        "micro_batch_rows": trainer.stepper.micro_rows,
        "simulated_data": trainer.train.table.source["simulated"],
    }
