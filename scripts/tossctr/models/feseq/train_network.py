"""Trains an FESeq model on H5 files."""

import ctypes
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from ...batches.batch_source import BatchSource
from ...config.declared import Runtime
from ...config.names import Settings
from ...datasets.opening import refit_rows
from ...datasets.table import RowSubset, Table
from ...features.feature_map import FeatureMap
from ..base import training_lock
from ..checkpoint import Checkpoint
from ..job import OpenRows, TrainJob
from .micro_batches import count_parameters, micro_batch_rows
from .network.device import Machine, ProcessRank, in_torchrun, process_group, set_up_machine
from .network.input_layer import input_sizes, inputs_of
from .network_file import (
    TrainedNetwork,
    batch_source,
    build_model,
    copy_weights,
    inference_source,
    merge_feature_maps,
)
from .network_settings import ModelConfig, TrainConfig
from .training_loop import Trainer

logger = logging.getLogger(__name__)

# Unknown categories are counted in this many train rows.
_OOV_ROWS = 200_000
# The learning rate of a refit, as a share of the first training's.
_REFIT_RATE = 0.3
# After a signal, torchrun kills the processes after this time, in which they save their state.
_SECONDS_TO_SAVE = 3600
_PR_SET_PDEATHSIG = 1


def train(job: TrainJob) -> None:
    """Train a model and write its files.

    With several `gpus`, torchrun replaces this process and runs the same command in a process per
    GPU. An interrupted training resumes from its saved state (`Checkpoint`). On the same machine,
    the model is then the same as without an interruption.
    """
    gpus = TrainConfig(**job.settings["train"]).gpus
    if gpus > 1 and not in_torchrun():
        _run_under_torchrun(gpus, job.threads)
    with ExitStack() as stack:
        ranks = ProcessRank()
        if in_torchrun():
            if sys.platform == "linux":
                # Otherwise this process would survive if its launcher is killed.
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            ranks = stack.enter_context(process_group())
        if ranks.is_main:
            stack.enter_context(training_lock(job.model))
        else:  # all ranks would log the same lines
            logging.getLogger("tossctr").setLevel(logging.ERROR)
        machine = set_up_machine(job.runtime, job.threads, ranks)
        run = stack.enter_context(open_run(job))
        trainer = run.trainer(machine, checkpoint=Checkpoint(job))
        trainer.fit()
        # The maximum over all processes.
        (peak,) = ranks.max_over_processes(machine.peak_memory())
        if ranks.is_main:
            _write(job, run, trainer, peak)


def _run_under_torchrun(processes: int, threads: int) -> NoReturn:
    """Replace this process by torchrun, which runs the same command in `processes` processes.

    torchrun forwards signals to all processes, and ends all if one fails.
    """
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SECONDS_TO_SAVE))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads // processes)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nnodes=1", f"--nproc-per-node={processes}"]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*command, *sys.argv])


@dataclass(frozen=True)
class TrainingRun:
    """The rows and settings of one training.

    A refit has no `valid`. It starts from the weights of `first_model`, the model of the first
    training, whose training.json is `first_training`.
    """

    train: Table
    valid: Table | None
    feature_map: FeatureMap
    model_config: ModelConfig
    config: TrainConfig
    first_model: TrainedNetwork | None = None
    first_training: Mapping[str, Any] = field(default_factory=dict)

    def trainer(self, machine: Machine, **options: Any) -> Trainer:
        """A Trainer for a new network. It splits batches into micro-batches that fit in memory.

        `options` are further arguments of the Trainer. Raises ImpossibleNetworkError if the size
        of a position's vector is not a multiple of `heads`.
        """
        model_config, config, fields = self.model_config, self.config, self.feature_map
        rows = self.first_training.get("batch_rows", config.batch_rows)
        train = batch_source(self.train, fields, model_config, rows, config.negative_sampling_rate)
        valid = None
        if self.valid is not None:
            valid = inference_source(self.valid, fields, model_config, machine)
        torch.manual_seed(config.seed)
        model = build_model(model_config, fields)
        shift = math.log(train.sampling_rate)
        if self.first_model:
            copy_weights(self.first_model, model, fields)
            model.set_logit_shift(shift)
        else:
            model.logit_shift.shift.fill_(shift)
        if model_config.oov_rate == "auto":
            rates = self.oov_rates(train, valid)
            model.oov_dropout.set_rates([rates.get(column, 0.0) for column in self.categories])
        if config.start_at_click_rate and not self.first_model:
            label = self.train.column("label")
            # Half a click is added, since a click rate of 0 has no log odds.
            model.init_output_bias((label.sum() + 0.5) / (len(label) + 1))
        logger.info(
            "%s train rows, %s, max_len %d, %s parameters",
            f"{train.rows:,}" + (f" ({train.rows_per_epoch:,} an epoch)" if train.sampler else ""),
            f"{valid.rows:,} validation rows" if valid else "all validation rows among them",
            model_config.max_len,
            f"{count_parameters(model):,}",
        )
        sizes, rows = input_sizes(model_config, fields), -(-train.batch_rows // machine.ranks.count)
        options["micro_rows"] = micro_batch_rows(model, model_config, sizes, machine, rows)
        if self.first_training:
            names = ("auc", "logloss", "monitor")
            options["metrics"] = {name: self.first_training[f"valid_{name}"] for name in names}
        return Trainer(model, train, valid, config, machine, **options)

    @property
    def categories(self) -> list[str]:
        """The names of the network's categorical columns.

        In a table without histories, they include '', the target of an empty history.
        """
        newest = inputs_of(self.model_config).newest_event_fields(self.feature_map)
        fields = self.feature_map.for_networks().category_fields
        return [field.column for field in (*fields, *newest)]

    def oov_rates(self, train: BatchSource, valid: BatchSource | None) -> dict[str, float]:
        """For each column, the share of categories that training replaces by "unknown".

        Unknown categories are then as frequent in train rows as in validation rows.
        """
        if valid is None:
            return self.first_training["oov_rates"]
        target = valid.encoder.oov_rates(valid.table)
        unknown = train.encoder.oov_rates(train.table, _OOV_ROWS)
        drawn = np.clip((target - unknown) / np.maximum(1 - unknown, 1e-9), 0, 1)
        return dict(zip(filter(None, self.categories), drawn.tolist()))


@contextmanager
def open_run(job: TrainJob) -> Iterator[TrainingRun]:
    """Yield the rows and settings of a job.

    A refit is one epoch, at a low learning rate, over the validation rows and at most as many
    train rows.
    """
    model_config = ModelConfig(**job.settings["model"])
    config = TrainConfig(**job.settings["train"])
    first_facts = job.first_training()
    with job.open_rows() as (feature_map, train, valid):
        if job.first_model is None:
            yield TrainingRun(train, valid, feature_map, model_config, config)
            return
        first_model = TrainedNetwork.load(job.first_model)
        feature_map = merge_feature_maps(first_model.about.feature_map, feature_map)
        rate = first_facts["peak_learning_rate"] * _REFIT_RATE
        config = replace(config, epochs=1, learning_rate=rate, schedule="cosine")
        rows = refit_rows(train, config.seed)
        yield TrainingRun(rows, None, feature_map, model_config, config, first_model, first_facts)


def _write(job: TrainJob, run: TrainingRun, trainer: Trainer, peak_memory: int) -> None:
    """Write the history, training.json, and the model."""
    best, last, train, machine = trainer.best, trainer.history[-1], trainer.train, trainer.machine
    network, rates = asdict(run.model_config), trainer.model.oov_dropout.rates
    # A refit trains on some rows, but all models of a blend must assume the click rate of all rows.
    rows = run.train.whole if isinstance(run.train, RowSubset) else run.train
    about = job.model_info(run.feature_map, rows)
    job.write(
        TrainedNetwork(about, trainer.model),
        [asdict(evaluation) for evaluation in trainer.history],
        valid_auc=best.auc,
        valid_logloss=best.logloss,
        valid_monitor=best.monitor,
        best_step=best.step,
        peak_learning_rate=trainer.peak_learning_rate,
        epochs=last.epoch,
        steps=trainer.step,
        batch_rows=train.batch_rows,
        train_rows=train.rows,
        rows_per_epoch=train.rows_per_epoch,
        negative_sampling_rate=train.sampling_rate,
        valid_rows=trainer.valid.rows if trainer.valid else 0,
        parameters=count_parameters(trainer.model),
        seconds=last.seconds,
        peak_memory_bytes=peak_memory,
        processes=trainer.ranks.count,
        device=machine.device.type,
        precision=str(machine.precision).removeprefix("torch."),
        micro_batch_rows=trainer.stepper.micro_rows,
        oov_rates=dict(zip(run.categories, rates.expand(len(run.categories)).tolist())),
        settings=network | asdict(run.config),
    )


@contextmanager
def trial_runner(rows: OpenRows, folder: Path, runtime: Runtime, threads: int) -> Iterator[Any]:
    """Yield a function that trains a network with given settings, for each trial of a search."""
    machine, (fields, train, valid) = set_up_machine(runtime, threads), rows

    def run_trial(settings: Settings, report: Callable[[float, int], None]) -> dict[str, Any]:
        def after_evaluation(trainer: Trainer) -> None:
            # Metrics before half an epoch are not informative.
            if trainer.step >= 0.5 * trainer.steps_per_epoch and not trainer.is_over:
                percent = 100 * trainer.step // trainer.steps_per_epoch
                report(trainer.history[-1].monitor, percent)

        model, config = ModelConfig(**settings["model"]), TrainConfig(**settings["train"])
        training = TrainingRun(train, valid, fields, model, replace(config, gpus=1))
        trainer = training.trainer(machine, after_evaluation=after_evaluation)
        trainer.fit()
        best = trainer.best
        metrics = {"auc": best.auc, "logloss": best.logloss, "steps": trainer.step}
        return {"value": best.monitor, **metrics}

    yield run_trial
