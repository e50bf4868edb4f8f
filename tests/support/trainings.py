"""Trainings of the toy size's first model on little simulated data, and their sudden ends."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from support.configs import shipped
from support.jobs import make_job, run_job
from support.raw_tables import selected
from tossctr.catalog.model_kinds import kind_of
from tossctr.common import tensors
from tossctr.config.columns import Columns
from tossctr.datasets.conversion import convert_test, convert_train
from tossctr.datasets.draw import read_labels, write_selections
from tossctr.features.fitting import fit_feature_map
from tossctr.models.feseq.network.device import Machine
from tossctr.models.feseq.network_settings import ModelConfig, TrainConfig
from tossctr.models.feseq.train_network import open_run
from tossctr.models.feseq.training_loop import Trainer
from tossctr.models.feseq.training_step import Stepper
from tossctr.raw.reading import RawTable
from tossctr.simulation.stand_in import simulate_split

CONFIG = shipped()
# The briefing's network is small, and its schedule says more of a loop than a cosine.
SETTINGS = kind_of("len100-briefing").settings(CONFIG, "toy", "len100-briefing")
TOY = {"embedding_dim": 8, "interaction_layers": 1, "transformer_layers": 1, "heads": 2}
MODEL = ModelConfig(**(SETTINGS["model"] | TOY | {"mlp": (128, 64)}))
FEW_STEPS = {"batch_size": 300, "min_steps_per_epoch": 1, "epochs": 2}
TRAIN = TrainConfig(**(SETTINGS["train"] | FEW_STEPS))
# For tests that train often.
SMALL_MODEL = replace(MODEL, max_len=10, embedding_dim=4, heads=1, mlp=(8,))
CPU = Machine(torch.device("cpu"))
STILL = replace(SMALL_MODEL, dropout=0.0)
# 30 steps an epoch, the last one of a single row; an evaluation, and so a loss, after each sixth.
OFTEN = replace(TRAIN, batch_size=31, evaluations_per_epoch=5, patience=99)
# Three steps an epoch, an evaluation after each.
FOUR_EPOCHS = replace(TRAIN, epochs=4, patience=9)


def make_data(folder: Path) -> None:
    """Simulated H5 files of 900 train, 100 validation and 150 test rows, and their feature map."""
    columns = Columns.from_config(CONFIG["table"]["columns"])
    raw = {split: folder / f"{split}.parquet" for split in ("train", "test")}
    for split, rows in (("train", 1000), ("test", 150)):
        truth = folder / f"{split}_truth.parquet"
        simulate_split(raw[split], truth, split=split, rows=rows, mean_length=20, seed=1)
    selection, h5 = folder / "selection.parquet", (folder / "train.h5", folder / "valid.h5")
    write_selections([selected(read_labels(RawTable(raw["train"]), "clicked"))], selection)
    convert_train(raw["train"], selection, columns, *h5)
    convert_test(raw["test"], columns, folder / "test.h5")
    fit_feature_map(h5[0], columns, 1).write(folder / "feature_map.json")


@contextmanager
def a_trainer(
    data: Path,
    config: TrainConfig,
    model: ModelConfig = SMALL_MODEL,
    machine: Machine = CPU,
    **options: Any,
) -> Iterator[Trainer]:
    """The trainer of a job, whose files are open; `options` are those of `make_job`."""
    settings = {"model": asdict(model), "train": asdict(config)}
    with open_run(make_job(data, data, settings, **options)) as run:
        yield run.trainer(machine)


def fitted(*arguments: Any, **options: Any) -> Trainer:
    """The trainer after its training; arguments are those of `a_trainer`."""
    with a_trainer(*arguments, **options) as trainer:
        trainer.fit()
    return trainer


def train(
    data: Path, out: Path, config: TrainConfig = TRAIN, model: ModelConfig = MODEL, **options: Any
) -> dict[str, Path]:
    """The output files of a training; `options` are those of `run_job`."""
    return run_job(data, out, {"model": asdict(model), "train": asdict(config)}, **options)


def train_saving(
    data: Path,
    out: Path,
    config: TrainConfig = FOUR_EPOCHS,
    model: ModelConfig = SMALL_MODEL,
    **options: Any,
) -> dict[str, Path]:
    """The same of the small model, whose state is saved after each step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tossctr.models.checkpoint.SECONDS_BETWEEN_SAVES", 0)
        return train(data, out, config, model, **options)


def same_weights(*models: Path) -> bool:
    """True if two models' files hold the same weights, to the bit."""
    one, other = (tensors.load(path, torch.from_numpy)["weights"] for path in models)
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


def script_monitor(patch: pytest.MonkeyPatch, *aucs: float) -> None:
    """Let the evaluations find these AUCs, one after the other."""
    values = iter(aucs)
    patch.setattr("tossctr.models.feseq.training_loop.metrics_of", lambda *_: (next(values), 0.0))


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """The steps that trainings take within."""
    with pytest.MonkeyPatch.context() as patch:
        yield end_at(patch, Stepper, "take_step", 0, None)


class CrashError(Exception):
    """Ends a training on the spot."""


def end_at(patch: pytest.MonkeyPatch, owner: Any, name: str, call: int, end: Any) -> list[int]:
    """Crash, or send a signal, at the n-th call of `owner.name`; the calls that were made."""
    original, calls = getattr(owner, name), []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(len(calls) + 1)
        if calls[-1] == call and end is CrashError:
            raise CrashError
        result = original(*arguments, **options)
        if calls[-1] == call:
            os.kill(os.getpid(), end)
        return result

    patch.setattr(owner, name, counted)
    return calls


@contextmanager
def ended_at(
    owner: Any, name: str, call: int, end: Any = CrashError
) -> Iterator[pytest.ExceptionInfo[Any]]:
    """What is done within ends at the n-th call of `owner.name`, by a crash or a signal."""
    asked: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit)
    before = signal.signal(signal.SIGTERM, lambda kind, _: sys.exit(128 + kind))
    try:
        with pytest.MonkeyPatch.context() as patch:
            end_at(patch, owner, name, call, end)
            with pytest.raises((CrashError,) if end is CrashError else asked) as raised:
                yield raised
    finally:
        signal.signal(signal.SIGTERM, before)
