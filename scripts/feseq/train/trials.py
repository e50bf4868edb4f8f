"""The trials of a search over settings of FESeq: trainings of networks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..common.errors import UserError
from ..config.model import ModelConfig
from ..config.runtime import Runtime
from ..config.train import TrainConfig
from ..dataset.feature_map import check_one_draw
from ..dataset.opening import open_table
from ..model.build import build_model
from ..model.device import start_runtime
from .loop import Trainer
from .run import TrainingRun, make_sources, make_trainer


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
    """Trains with a trial's settings on top of these; see `tune.search.Trials`."""
    if settings["train"]["start_from"]:
        raise UserError("train.start_from: a search trains from the start; set it to null")
    base = TrainingRun(
        *(train_h5, valid_h5, feature_map),
        ModelConfig(**settings["model"]),
        replace(TrainConfig(**settings["train"]), gpus=1, nodes=1),
    )
    codes, machine = base.feature_map, start_runtime(runtime, threads)

    with open_table(train_h5) as train, open_table(valid_h5) as valid:
        check_one_draw(codes, train, valid)

        def run(changes: Mapping[str, Mapping[str, Any]], report: Any) -> dict[str, Any]:
            training = replace(
                base,
                model_config=replace(base.model_config, **changes["model"]),
                train_config=replace(base.train_config, **changes["train"]),
            )
            with torch.device("meta"):
                build_model(
                    training.model_config, codes
                )  # shows contradictions before rows are read

            def after_evaluation(trainer: Trainer) -> None:
                epochs = trainer.rows_seen / trainer.train.rows_per_epoch
                is_over = epochs == trainer.config.epochs or trainer.early_stopping.is_over
                # The first half epoch tells little.
                may_end = epochs >= 0.5 and not is_over
                report(trainer.history[-1].monitor, trainer.rows_seen, may_end=may_end)

            sources = make_sources(training, codes, train, valid, machine)
            trainer = make_trainer(
                training, codes, sources, machine, after_evaluation=after_evaluation, verbosity=0
            )
            trainer.fit()
            best = max(trainer.history, key=lambda evaluation: evaluation.monitor)
            metrics = {"auc": best.auc, "logloss": best.logloss, "steps": trainer.step}
            return {"value": best.monitor, **metrics}

        yield run
