"""Trainings of the toy size's first model on little simulated data, and their sudden ends."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from feseq.config.catalog import model_settings
from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from feseq.dataset.conversion import convert_test, convert_train
from feseq.dataset.feature_map import fit_feature_map
from feseq.dataset.sampling import read_labels
from feseq.dataset.selection import write_selections
from feseq.model.device import Machine
from feseq.raw.reading import open_parquet
from feseq.simulation import simulate_split
from feseq.train.run import TrainingRun, train_model
from support import REPOSITORY
from support.raw_tables import selected

CONFIG = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
SETTINGS = model_settings(CONFIG, "toy", "len100")
MODEL = ModelConfig(**SETTINGS["model"])
TRAIN = TrainConfig(**(SETTINGS["train"] | {"batch_size": 300, "min_steps_per_epoch": 1}))
# For tests that train often.
SMALL_MODEL = replace(MODEL, max_len=10, embedding_dim=4, heads=1, mlp=(8,))
CPU = Machine(torch.device("cpu"))
STILL = replace(SMALL_MODEL, dropout=0.0)
# 30 steps an epoch, the last one of a single row; an evaluation, and so a loss, after each.
EACH_STEP = replace(TRAIN, batch_size=31, epochs=2, evaluations_per_epoch=30, patience=99)
# Three steps an epoch, an evaluation after each.
FOUR_EPOCHS = replace(TRAIN, epochs=4, patience=9)


def make_data(folder: Path) -> None:
    """Simulated H5 files of 900 train, 100 validation and 150 test rows, and their feature map."""
    columns = Columns.from_config(CONFIG["columns"])
    for split, rows in (("train", 1000), ("test", 150)):
        simulate_split(
            folder / f"{split}.parquet",
            folder / f"{split}_truth.parquet",
            split=split,
            rows=rows,
            mean_length=20,
            seed=1,
        )
    raw = open_parquet(folder / "train.parquet")
    labels = read_labels(raw, "clicked")
    write_selections([selected(labels)], folder / "selection.parquet")
    convert_train(
        folder / "train.parquet",
        folder / "selection.parquet",
        columns,
        folder / "train.h5",
        folder / "valid.h5",
    )
    convert_test(folder / "test.parquet", columns, folder / "test.h5")
    fit_feature_map(folder / "train.h5", columns, 1).write(folder / "feature_map.json")


def a_run(data: Path, model: ModelConfig = MODEL, config: TrainConfig = TRAIN) -> TrainingRun:
    files = (data / name for name in ("train.h5", "valid.h5", "feature_map.json"))
    return TrainingRun(*files, model, config)


def train(
    data: Path,
    out: Path,
    config: TrainConfig = TRAIN,
    model: ModelConfig = MODEL,
    **options: Any,
) -> dict[str, Path]:
    """The output files of a training; `options` are of the runtime, but for `code`."""
    outputs = {
        "model": out / "model.safetensors",
        "history": out / "history.csv",
        "training": out / "training.json",
    }
    code = options.pop("code", ())
    runtime = Runtime(**{"device": "cpu", "verbosity": 0} | options)
    run = a_run(data, model, config)
    train_model(run, outputs, runtime=runtime, threads=config.gpus, code=code)
    return outputs


def train_saving(
    data: Path, out: Path, config: TrainConfig = FOUR_EPOCHS, **options: Any
) -> dict[str, Path]:
    """The same of the small model, whose state is saved after each step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feseq.train.checkpoint.SECONDS_BETWEEN_SAVES", 0)
        return train(data, out, config, SMALL_MODEL, **options)


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
