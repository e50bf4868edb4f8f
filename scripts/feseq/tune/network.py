"""A FESeq model that is tuned: its trials are trainings of networks."""

import functools
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import Trial

from ..common.errors import NotEnoughMemoryError, NotFiniteError, UserError
from ..common.log import only_errors
from ..common.ranks import process_rank
from ..config.model import ModelConfig
from ..config.runtime import Runtime
from ..config.space import by_block
from ..config.train import TrainConfig
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.opening import open_table
from ..dataset.table import Table
from ..families import Settings
from ..model.build import build_model
from ..model.device import Machine, start_runtime
from ..train.loop import Trainer
from ..train.run import TrainingRun, make_sources, make_trainer
from .search import About, Ended, Run, tune_model
from .study import COMPLETE, PRUNED


def tune(
    train_h5: list[Path],
    valid_h5: list[Path],
    feature_map: Path,
    settings: Settings,
    outputs: Mapping[str, Path],
    *,
    model: str,
    variant: Settings,
    **options: Any,
) -> None:
    """Search the settings of a network, see `tune_model`; `variant` are those of its variant."""
    network = ModelConfig.from_values(settings["model"], "model")
    training = TrainConfig.from_values(settings["train"], "train")
    run = TrainingRun(train_h5, valid_h5, feature_map, network, training)
    tune_model(TunedNetwork(run, model, variant), outputs, **options)


@dataclass(frozen=True)
class TunedNetwork:
    """The training whose settings are searched; `own` are those of the model's variant."""

    run: TrainingRun
    model: str
    own: Settings = field(default_factory=dict)
    figures: tuple[str, ...] = ("epochs", "steps")
    blocks: tuple[str, ...] = ("model", "train")

    @property
    def monitor(self) -> Mapping[Any, float]:
        """What trials are compared by: a sum of figures, each with its weight."""
        return self.run.train_config.monitor

    def about(self, *settings: Any) -> About:
        """What the trials depend on."""
        if self.run.train_config.start_from:
            raise UserError(
                "train.start_from: a search trains from the start; set it to null, and use what is "
                "found for trainings from the start"
            )
        files = (self.run.train_h5, self.run.valid_h5)
        with open_table(files[0]) as train, open_table(files[1]) as valid:
            return About(self.run.key(train, valid, *settings), train.source["simulated"])

    def best(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The variant of these settings, with those of the variant that was tuned."""
        found = {block: {**self.own.get(block, {}), **k} for block, k in by_block(settings).items()}
        return {block: keys for block, keys in found.items() if keys}

    def runner(self, runtime: Runtime, threads: int, workers: int, stack: ExitStack) -> Run:
        """What a worker runs trials by."""
        # All would log the same lines on the machine.
        with only_errors(process_rank() > 0):
            machine = start_runtime(runtime, threads)
        if workers > 1:
            # They share the card, or the computer.
            machine = replace(machine, memory_gib=machine.memory() / 2**30 / workers)
        feature_map = FeatureMap.read(self.run.feature_map_json)
        train = stack.enter_context(open_table(self.run.train_h5))
        valid = stack.enter_context(open_table(self.run.valid_h5))
        check_one_draw(feature_map, train, valid)
        return functools.partial(_run_trial, self.run, feature_map, (train, valid), machine)


def _run_trial(
    tuning: TrainingRun,
    feature_map: FeatureMap,
    tables: tuple[Table, Table],
    machine: Machine,
    trial: Trial,
    settings: Mapping[str, Any],
) -> Ended:
    """Train with `settings`; the figures are those of the best evaluation, None without one."""
    started = time.monotonic()
    figures: dict[str, Any] = {"epochs": 0, "steps": 0, "seconds": 0.0}
    blocks, state = by_block(settings), COMPLETE
    try:
        model_config = replace(tuning.model_config, **blocks["model"])
        with torch.device("meta"):
            build_model(model_config, feature_map)
    except ValueError as error:
        return PRUNED, figures | {"reason": str(error)}
    config = replace(tuning.train_config, **blocks["train"])
    run = replace(tuning, model_config=model_config, train_config=config)
    with only_errors():
        trainer = make_trainer(
            run,
            feature_map,
            make_sources(run, feature_map, *tables, machine),
            machine,
            after_evaluation=functools.partial(_judge, trial),
            verbosity=0,
        )
        try:
            trainer.fit()
        except (optuna.TrialPruned, NotFiniteError, NotEnoughMemoryError) as error:
            state, figures["reason"] = PRUNED, str(error)
    if trainer.history:
        best = max(trainer.history, key=lambda evaluation: evaluation.monitor)
        figures |= {"value": best.monitor, "auc": best.auc, "logloss": best.logloss}
    figures["epochs"] = min(trainer.epoch, config.epochs)
    figures |= {"steps": trainer.step, "seconds": round(time.monotonic() - started, 2)}
    return state, figures


def _judge(trial: Trial, trainer: Trainer) -> None:
    """After an evaluation: end a training that is behind the others at as many rows.

    Not within the first half epoch, which tells little, and not where it ends anyway.
    """
    trial.report(trainer.history[-1].monitor, trainer.rows_seen)
    epochs = trainer.rows_seen / trainer.train.rows_per_epoch
    is_over = epochs == trainer.config.epochs or trainer.early_stopping.is_over
    if epochs < 0.5 or is_over or not trial.should_prune():
        return
    raise optuna.TrialPruned(
        f"below the median in epoch {trainer.epoch} of {trainer.config.epochs}"
    )
