"""Training of one FESeq model: from H5 files and a feature map to the model and its figures."""

import csv
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..common.errors import NotEnoughMemoryError
from ..common.files import write_json, written_beside
from ..dataset.batches import Batch, BatchSource
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.store import H5Table
from ..machine.ranks import Ranks, joined
from ..machine.runtime import Machine, start_runtime
from ..machine.workers import only_errors, run_workers
from ..model import ModelConfig
from ..model.build import build_model, field_sizes
from ..model.history import TimeEmbedding
from ..predict.model_file import TrainedModel
from ..predict.prediction import inference_source
from .loop import Evaluation, TrainConfig, Trainer
from .memory_account import account
from .resume import SavedTraining
from .tensorboard import Curves

logger = logging.getLogger(__name__)

# Of events whose times tell the model nothing; more are worth a warning.
_ODD_SHARE = 0.9


@dataclass(frozen=True)
class TrainingRun:
    """The data and the settings of one training."""

    train_h5: Path
    valid_h5: Path
    feature_map_json: Path
    model_config: ModelConfig
    train_config: TrainConfig

    def key(self, *settings: Any) -> str:
        """A digest of all that the training depends on, and of `settings`, plain values."""
        # By how many processes it is done changes rounding and draws of dropout alone.
        train_config = asdict(replace(self.train_config, gpus=1))
        inputs = [
            _origin(self.train_h5),
            _origin(self.valid_h5),
            hashlib.sha256(self.feature_map_json.read_bytes()).hexdigest(),
        ]
        values = [asdict(self.model_config), train_config, inputs, *settings]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def train_model(
    run: TrainingRun,
    outputs: Mapping[str, Path],
    *,
    runtime: Mapping[str, Any],
    threads: int = 1,
    code: Sequence[str] = (),
) -> None:
    """Train a model; write `outputs`: history (CSV), training (JSON), and, last, model.

    `runtime` is the config's block: with `tensorboard`, event files are written into a folder
    `tensorboard` beside the model. With `gpus` in the train settings, as many processes train, each
    on a GPU of its own.

    The state is kept in a folder `training_state` beside the model. An interrupted
    training goes on from there if settings, data and `code`, digests of it, are the same, and ends
    like an uninterrupted one on the same machine.
    """
    minutes = runtime.get("save_minutes", 10)
    folder = outputs["model"].with_name("training_state")
    saved = SavedTraining(folder, run.key(list(code)), minutes)
    count = run.train_config.gpus
    with saved.locked():
        if count == 1:
            _train(Ranks(), run, outputs, saved, runtime, threads)
            return
        with TemporaryDirectory() as meeting:
            rank = (count, Path(meeting) / "ranks", run, outputs, saved, runtime, threads)
            run_workers(count, _train_as_rank, *rank)


def _train_as_rank(rank: int, count: int, meeting: Path, *of_training: Any) -> None:
    """What each of several processes does."""
    # The first one's words go for all.
    with joined(rank, count, meeting) as ranks, only_errors(quiet=rank > 0):
        _train(ranks, *of_training)


def _train(
    ranks: Ranks,
    run: TrainingRun,
    outputs: Mapping[str, Path],
    saved: SavedTraining,
    runtime: Mapping[str, Any],
    threads: int,
) -> None:
    machine = start_runtime(runtime, threads, ranks)
    feature_map = FeatureMap.read(run.feature_map_json)
    with ExitStack() as stack:
        trainer = make_trainer(run, feature_map, machine, runtime.get("verbosity", 1))
        if runtime.get("tensorboard", False) and ranks.is_first:
            rows_per_step = trainer.train.rows / trainer.train.batches_per_epoch
            curves = Curves(outputs["model"].with_name("tensorboard"), rows_per_step)
            trainer.after_evaluation = stack.enter_context(curves).add
        trainer.fit(saved)
        summary = _summary(trainer)
    if not ranks.is_first:
        return
    _write_history(outputs["history"], trainer.history)
    settings = asdict(run.model_config) | asdict(run.train_config)
    write_json(outputs["training"], summary | {"settings": settings})
    TrainedModel(
        trainer.model,
        run.model_config,
        feature_map,
        simulated=trainer.train.table.source["simulated"],
        click_rate=float(trainer.train.table.column("label").mean()),
        pos_weight=run.train_config.pos_weight,
    ).save(outputs["model"])


def make_trainer(
    run: TrainingRun, feature_map: FeatureMap, machine: Machine, verbosity: int
) -> Trainer:
    """A trainer at its start, with seeded weights; writes nothing.

    Raises ValueError for a network that cannot be, UserError for files that do not belong together.
    """
    model_config, train_config = run.model_config, run.train_config
    torch.manual_seed(train_config.seed)
    max_len = model_config.max_len
    with H5Table(run.train_h5) as table:
        batch_rows = train_config.batch_rows(table.rows)
    train = BatchSource(run.train_h5, feature_map, max_len=max_len, batch_rows=batch_rows)
    valid = inference_source(run.valid_h5, feature_map, max_len, machine)
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
    share_rows = -(-batch_rows // machine.ranks.count)
    trainer.stepper.micro_rows = _micro_rows(model_config, feature_map, machine, share_rows)
    model.refiner.recompute = machine.recompute
    return trainer


def _origin(h5: Path) -> str:
    with H5Table(h5) as table:
        return f"{table.identity} {table.rows}"


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
        # Of the process, or the GPU, that took most.
        "peak_memory_bytes": trainer.ranks.largest(trainer.machine.peak_memory())[0],
        "processes": trainer.ranks.count,
        "device": str(trainer.machine.device),
        "precision": str(trainer.machine.precision).removeprefix("torch."),
        "micro_batch_rows": trainer.stepper.micro_rows,
        "simulated_data": trainer.train.table.source["simulated"],
    }
