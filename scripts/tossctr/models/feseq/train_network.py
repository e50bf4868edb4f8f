"""Training of one FESeq model: from H5 files and a feature map to the model and its metrics."""

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...batches.batch_source import BatchSource
from ...common.files import locked
from ...datasets.opening import Files, refit_rows
from ...datasets.table import SomeRows, Table
from ...features.feature_map import FeatureMap
from ..job import TrainJob, open_rows
from ..trained import About
from .network.device import Machine, Ranks, in_group, joined, start_runtime
from .network.input_layer import field_sizes, inputs_of
from .network_file import TrainedModel, batch_source, build_model, inference_source
from .network_settings import ModelConfig, TrainConfig
from .training.checkpoint import Checkpoint
from .training.loop import Trainer
from .training.micro_batches import COPIES_OF_PARAMETERS, count_parameters, micro_batch_rows
from .training.processes import end_with_launcher, run_under_torchrun
from .training.refit import FirstTraining

logger = logging.getLogger(__name__)

# Train rows, which are shuffled, in which unknown categories are counted.
_ROWS_OF_SHARES = 200_000
# A refit's learning rate, as a share of the first training's.
_REFIT_RATE = 0.3
# Batches to train on and to validate; None for a refit.
Sources = tuple[BatchSource, BatchSource | None]


def train(job: TrainJob) -> None:
    """Train a model.

    `job.settings` are its blocks `model` and `train`. With several `gpus`, torchrun replaces
    this process and starts the command again in each process of the training; these form
    a group. The state is kept in a folder `training_state` beside the model: an interrupted
    training resumes from it if settings, data and `job.code` are the same, and ends like an
    uninterrupted one on the same machine.
    """
    config = TrainConfig.from_values(job.settings["train"], "train")
    if job.refit_of:
        lower = config.learning_rate * _REFIT_RATE
        config = replace(config, epochs=1, learning_rate=lower, schedule="cosine")
    model_config = ModelConfig.from_values(job.settings["model"], "model")
    files = (job.train, job.valid, job.feature_map)
    run = TrainingRun(
        *files, model_config, config, job.before(), job.first_model, full_name=job.full_name
    )
    if in_group():
        end_with_launcher()
        with joined() as ranks:
            if not ranks.is_first:  # it would log the same lines
                logging.getLogger("tossctr").setLevel(logging.ERROR)
            _train(ranks, run, job)
    elif config.gpus == 1:
        _train(Ranks(), run, job)
    else:
        run_under_torchrun(config.gpus, job.threads)


def _train(ranks: Ranks, run: "TrainingRun", job: TrainJob) -> None:
    machine = start_runtime(job.runtime, job.threads, ranks)
    folder = job.model.with_name("training_state")
    with ExitStack() as stack:
        if ranks.is_first:
            stack.enter_context(locked(folder, "is training this model already"))
        sources = stack.enter_context(run.opened(machine))
        trainer = run.trainer(
            sources,
            machine,
            checkpoint=Checkpoint(folder, run.key(sources, job.code)),
        )
        trainer.fit()
        # The largest of all processes, or GPUs.
        (peak,) = ranks.largest(machine.peak_memory())
        if ranks.is_first:
            _write(job, run, trainer, peak)


@dataclass(frozen=True)
class TrainingRun:
    """The data and the settings of one training.

    With `before`, what the training.json of an earlier run says, it is a refit and goes on from
    that run's weights, the file `first_model`: one epoch of the held-out rows and as many train
    rows, at a lower rate. `full_name` is size and name of the model, such as full/len150, '' for
    one that has no place.
    """

    train_h5: Files
    valid_h5: Files
    feature_map_json: Path
    model_config: ModelConfig
    train_config: TrainConfig
    before: Mapping[str, Any] = field(default_factory=dict)
    first_model: Path | None = None
    full_name: str = ""

    @cached_property
    def first(self) -> FirstTraining | None:
        """The first training, of a refit."""
        if self.first_model is None:
            return None
        return FirstTraining.read(self.first_model, FeatureMap.read(self.feature_map_json))

    @cached_property
    def feature_map(self) -> FeatureMap:
        """The feature map of its rows, which a refit reads like its first training."""
        return self.first.feature_map if self.first else FeatureMap.read(self.feature_map_json)

    @contextmanager
    def opened(self, machine: Machine) -> Iterator[Sources]:
        """Its batches; raises UserError if the files do not belong together."""
        files = (self.train_h5, self.valid_h5, self.feature_map_json, self.full_name)
        with open_rows(*files, is_refit=bool(self.before)) as (_, train, valid):
            rows = train if valid is not None else refit_rows(train, self.train_config.seed)
            yield self.sources(rows, valid, machine)

    def sources(self, train: Table, valid: Table | None, machine: Machine) -> Sources:
        """Its batches from open tables of rows to learn from and to choose by."""
        model, config = self.model_config, self.train_config
        fields = self.feature_map
        rows = self.before["batch_rows"] if self.before else config.batch_rows
        batches = batch_source(train, fields, model, rows, config.negative_share)
        if valid is None:
            return batches, None
        return batches, inference_source(valid, fields, model, machine)

    def trainer(self, sources: Sources, machine: Machine, **options: Any) -> Trainer:
        """A trainer with seeded weights, and micro-batches that fit into memory; writes nothing.

        `options` are those of Trainer. Raises ImpossibleNetworkError for an impossible network.
        """
        train, valid = sources
        config = self.train_config
        sizes = field_sizes(self.model_config, self.feature_map)
        # An average of the weights is one more copy.
        copies = COPIES_OF_PARAMETERS + (config.weight_average > 0)
        torch.manual_seed(config.seed)
        model = build_model(self.model_config, self.feature_map)
        shift = math.log(train.kept_share)
        if self.first:
            self.first.carry_into(model)
            model.go_on_with(shift)
            logger.info("going on from %s", self.first_model)
        else:
            model.observed_odds.shift.fill_(shift)
        if self.model_config.unknown_share == "auto":
            model.unknown.take(self.unknown_shares(train, valid))
        if config.start_at_click_rate and not self.first:
            label = train.table.column("label")
            # Half a click is added, since a rate of 0 has no odds.
            model.start_at((label.sum() + 0.5) / (len(label) + 1))
        logger.info(
            "%s train rows, %s validation rows, max_len %d, %s parameters",
            f"{train.rows:,}" + (f" ({train.rows_per_epoch:,} an epoch)" if train.draw else ""),
            f"{valid.rows:,}" if valid else "no",
            self.model_config.max_len,
            f"{count_parameters(model):,}",
        )
        share_rows = -(-train.batch_rows // machine.ranks.count)
        rows = micro_batch_rows(model, self.model_config, sizes, machine, share_rows, copies)
        if self.before:
            names = ("auc", "logloss", "monitor")
            options["metrics"] = {name: self.before[f"valid_{name}"] for name in names}
        return Trainer(model, train, valid, config, machine, micro_rows=rows, **options)

    @property
    def categories(self) -> list[str]:
        """The profile, target and context columns; '' for the target of a table without one."""
        fields, inputs = self.feature_map, inputs_of(self.model_config)
        newest = inputs.newest_fields(fields)
        return [f.column for f in (*fields.for_networks().category_fields, *newest)]

    def unknown_shares(self, train: BatchSource, valid: BatchSource | None) -> list[float]:
        """The shares by column to draw as unknown; a refit takes those of the first run.

        With these draws, train rows have as many unknown categories as validation rows. A newest
        code counts as known.
        """
        if self.before:
            shares = self.before["unknown_shares"]
        else:
            assert valid is not None, "only a refit has no validation rows"
            target = valid.encoder.unknown_shares(valid.table)
            unknown = train.encoder.unknown_shares(train.table, _ROWS_OF_SHARES)
            drawn = np.clip((target - unknown) / np.maximum(1 - unknown, 1e-9), 0, 1)
            shares = dict(zip(filter(None, self.categories), drawn.tolist()))
        return [shares.get(column, 0.0) for column in self.categories]

    def key(self, sources: Sources, code: str) -> str:
        """A digest of all that the training depends on, including `code`."""
        # The number of processes changes only rounding and draws of dropout.
        config = asdict(replace(self.train_config, gpus=1))
        inputs = [f"{source.table.identity} {source.rows}" for source in sources if source]
        inputs += [hashlib.sha256(self.feature_map_json.read_bytes()).hexdigest()]
        values = [asdict(self.model_config), config, inputs, self.before, code]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _write(job: TrainJob, run: TrainingRun, trainer: Trainer, peak_memory: int) -> None:
    """Write the model, its history, and training.json."""
    best, last, train, machine = trainer.best, trainer.history[-1], trainer.train, trainer.machine
    facts: dict[str, Any] = {}
    if run.model_config.unknown_share == "auto":
        shares = trainer.model.unknown.shares.tolist()
        facts["unknown_shares"] = dict(zip(run.categories, shares))
    network, training = asdict(run.model_config), asdict(run.train_config)
    simulated, click_rate = train.table.source["simulated"], trainer.click_rate
    if isinstance(train.table, SomeRows):
        # A refit learns from some rows; the models of a blend have the click rate of all.
        click_rate = float(train.table.whole.column("label").mean())
    about = About({"model": network}, run.feature_map, simulated, click_rate, run.full_name)
    job.write(
        TrainedModel(about, trainer.model),
        [asdict(evaluation) for evaluation in trainer.history],
        valid_auc=best.auc,
        valid_logloss=best.logloss,
        valid_monitor=best.monitor,
        best_step=best.step,
        learning_rate=asdict(trainer.learning_rate),
        epochs=last.epoch,
        steps=trainer.step,
        batch_rows=train.batch_rows,
        train_rows=train.rows,
        rows_per_epoch=train.rows_per_epoch,
        negative_share=train.kept_share,
        valid_rows=trainer.valid.rows if trainer.valid else 0,
        parameters=count_parameters(trainer.model),
        seconds=last.seconds,
        peak_memory_bytes=peak_memory,
        processes=trainer.ranks.count,
        device=machine.device.type,
        precision=str(machine.precision).removeprefix("torch."),
        micro_batch_rows=trainer.stepper.micro_rows,
        **facts,
        settings=network | training,
    )
