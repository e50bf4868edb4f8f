"""The trials of a search over settings of FESeq: trainings of networks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...config.declared import Runtime
from ..job import open_rows
from .network.device import start_runtime
from .network_settings import ModelConfig, TrainConfig
from .train_network import TrainingRun
from .training.loop import Trainer


@contextmanager
def trials(
    train_h5: list[Path],
    valid_h5: list[Path],
    feature_map: Path,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    runtime: Runtime,
    threads: int,
) -> Iterator[Any]:
    """Trains with a trial's settings on top of these; see `tune.Trials`."""
    model = ModelConfig(**settings["model"])
    config = replace(TrainConfig(**settings["train"]), gpus=1)
    base = TrainingRun(train_h5, valid_h5, feature_map, model, config)
    machine = start_runtime(runtime, threads)

    with open_rows(train_h5, valid_h5, feature_map) as (_, train, valid):

        def run(changes: Mapping[str, Mapping[str, Any]], report: Any) -> dict[str, Any]:
            changed = replace(
                base,
                model_config=replace(model, **changes["model"]),
                train_config=replace(config, **changes["train"]),
            )

            def after_evaluation(trainer: Trainer) -> None:
                # The first half of an epoch says little.
                is_early = trainer.rows_seen < 0.5 * trainer.train.rows_per_epoch
                may_end = not is_early and not trainer.is_over
                report(trainer.history[-1].monitor, trainer.rows_seen, may_end=may_end)

            sources = changed.sources(train, valid, machine)
            trainer = changed.trainer(sources, machine, after_evaluation=after_evaluation)
            trainer.fit()
            best = trainer.best
            metrics = {"auc": best.auc, "logloss": best.logloss, "steps": trainer.step}
            return {"value": best.monitor, **metrics}

        yield run
