"""An interrupted training goes on as if nothing had happened, or says why it does not."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support.trainings import (
    FOUR_EPOCHS,
    CrashError,
    counted_steps,
    ended_at,
    same_weights,
    train_saving,
)
from tossctr.common import tensors
from tossctr.common.errors import UserError
from tossctr.common.files import folder_lock
from tossctr.models.base import refuse_models_in_training
from tossctr.models.feseq import training_loop as trainer
from tossctr.models.feseq.training_step import Stepper

# Two epochs of three steps, an evaluation after each.
CONFIG = replace(FOUR_EPOCHS, epochs=2)


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Outputs of a training that nothing interrupted."""
    return train_saving(data, tmp_path_factory.mktemp("whole"), CONFIG)


def assert_same(actual: dict[str, Path], expected: dict[str, Path]) -> None:
    assert same_weights(expected["model"], actual["model"])
    runs = (actual, expected)
    pd.testing.assert_frame_equal(
        *(pd.read_csv(run["history"]).drop(columns="seconds") for run in runs)
    )
    names = ["history.csv", "model.safetensors", "training.json", "training_state"]
    assert sorted(os.listdir(actual["model"].parent)) == names


@pytest.mark.parametrize(
    ("left", "ending"),
    [
        # Saved after each step, so that a crash costs the one that it struck, and a signal none.
        (5, (Stepper, "take_step", 1, signal.SIGTERM)),
        # Before an evaluation, at an epoch's start, at the end.
        (3, (Stepper, "take_step", 3, signal.SIGTERM)),
        (2, (Stepper, "take_step", 4, signal.SIGINT)),
        (0, (Stepper, "take_step", 6, signal.SIGTERM)),
        # Within an evaluation, for whose end a signal does not wait, and within a save.
        (0, (trainer, "predict_logits", 2, CrashError)),
        (3, (trainer, "predict_logits", 1, signal.SIGTERM)),
        (2, (tensors, "save", 5, CrashError)),
    ],
)
def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    data: Path, uninterrupted: dict[str, Path], tmp_path: Path, left: int, ending: Any
) -> None:
    with ended_at(*ending) as raised:
        train_saving(data, tmp_path, CONFIG)
    assert not (tmp_path / "model.safetensors").exists()
    if signal.SIGTERM in ending:
        assert raised.value.code == 143
    with counted_steps() as taken:
        assert_same(train_saving(data, tmp_path, CONFIG), uninterrupted)
    assert len(taken) == left


def test_what_a_training_has_of_its_options_is_in_its_state(data: Path, tmp_path: Path) -> None:
    config = replace(
        CONFIG,
        schedule="cosine",
        weight_decay=0.1,
        weight_average=0.5,
        embedding_second_moment="table",
        evaluations_per_epoch=2,
        monitor={"balanced_score": 1},
        negative_sampling_rate=0.6,
    )
    whole = train_saving(data, tmp_path / "whole", config)
    with ended_at(Stepper, "take_step", 3, signal.SIGTERM):
        train_saving(data, tmp_path / "cut", config)
    assert_same(train_saving(data, tmp_path / "cut", config), whole)


@pytest.mark.parametrize("change", ["settings", "code", "damage"])
def test_a_state_that_is_of_no_use_trains_from_the_start(
    data: Path, tmp_path: Path, change: str
) -> None:
    with ended_at(Stepper, "take_step", 2):
        train_saving(data, tmp_path, CONFIG)
    if change == "damage":
        state = tmp_path / "training_state/state.safetensors"
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 1
        state.write_bytes(content)
    config = replace(CONFIG, epochs=1) if change == "settings" else CONFIG
    with counted_steps() as steps:
        train_saving(data, tmp_path, config, code="another" if change == "code" else "")
    assert len(steps) == 3 * config.epochs


def test_two_trainings_of_one_model_keep_apart(data: Path, tmp_path: Path) -> None:
    refused = pytest.raises(UserError, match=f"process {os.getpid()} on .* is training this model")
    with folder_lock(tmp_path / "training_state", "trains"):
        with refused:
            train_saving(data, tmp_path, CONFIG)
        # What Snakemake asks before it starts.
        with refused:
            refuse_models_in_training([tmp_path / "model.safetensors"])
    refuse_models_in_training([tmp_path / "model.safetensors", tmp_path / "none/model.safetensors"])


def test_a_full_disk_under_the_state_does_not_end_the_training(
    data: Path, uninterrupted: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = tensors.save

    def nearly_full(content: Any, path: Path) -> None:
        if path.name == "state.safetensors":
            raise OSError("No space left on device")
        save(content, path)

    monkeypatch.setattr(tensors, "save", nearly_full)
    assert_same(train_saving(data, tmp_path, CONFIG), uninterrupted)
