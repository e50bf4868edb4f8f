"""An interrupted training goes on as if nothing had happened, or says why it does not."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from support import SCRIPTS
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
from tossctr.common.files import locked
from tossctr.models.feseq import training_loop as trainer
from tossctr.models.feseq.network import FESeq
from tossctr.models.feseq.network_settings import TrainConfig
from tossctr.models.feseq.training_step import Stepper

# Two epochs of three steps, an evaluation after each.
CONFIG = replace(FOUR_EPOCHS, epochs=2)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Outputs of a training that nothing interrupted."""
    return train_saving(data, tmp_path_factory.mktemp("whole"), CONFIG)


@pytest.fixture
def assert_goes_on(
    data: Path, undisturbed: dict[str, Path], tmp_path: Path
) -> Callable[[int], None]:
    """The training in `tmp_path` goes on, takes so many steps, and ends like the undisturbed."""

    def go_on(steps: int) -> None:
        with counted_steps() as taken:
            assert_same(train_saving(data, tmp_path, CONFIG), undisturbed)
        assert len(taken) == steps

    return go_on


def assert_same(actual: dict[str, Path], expected: dict[str, Path]) -> None:
    assert same_weights(expected["model"], actual["model"])
    # The last column are the seconds.
    lines, whole_lines = (
        [line.rsplit(",", 1)[0] for line in run["history"].read_text().splitlines()]
        for run in (actual, expected)
    )
    assert lines == whole_lines
    about, whole_about = (json.loads(run["training"].read_text()) for run in (actual, expected))
    assert about["best_step"] == whole_about["best_step"]
    names = ["history.csv", "model.safetensors", "training.json", "training_state"]
    assert sorted(os.listdir(actual["model"].parent)) == names


@pytest.mark.parametrize(
    ("left", "place"),
    [
        # Saved after each step, so that a crash costs the one that it struck, and a signal none.
        (6, (Stepper, "take", 1, CrashError)),
        (5, (Stepper, "take", 1, signal.SIGTERM)),
        # Before an evaluation, at an epoch's start, at the end.
        (4, (Stepper, "take", 3, CrashError)),
        (3, (Stepper, "take", 3, signal.SIGTERM)),
        (3, (Stepper, "take", 4, CrashError)),
        (2, (Stepper, "take", 4, signal.SIGINT)),
        (0, (Stepper, "take", 6, signal.SIGTERM)),
        # Within an evaluation and within a save. A signal does not wait for an evaluation's end:
        # memory is measured by two forward passes, and three steps come before the evaluation.
        (0, (trainer, "predict_logits", 2, CrashError)),
        (3, (trainer, "predict_logits", 1, signal.SIGTERM)),
        (3, (FESeq, "forward", 6, signal.SIGTERM)),
        (2, (tensors, "save", 5, CrashError)),
        (0, (tensors, "save", 5, signal.SIGTERM)),
    ],
)
def test_an_interrupted_training_ends_like_an_undisturbed_one(
    data: Path, assert_goes_on: Callable[[int], None], tmp_path: Path, left: int, place: Any
) -> None:
    with ended_at(*place) as raised:
        train_saving(data, tmp_path, CONFIG)
    assert not (tmp_path / "model.safetensors").exists()
    if signal.SIGTERM in place:
        assert raised.value.code == 143
    assert_goes_on(left)


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "cosine", "weight_decay": 0.1, "embedding_second_moment": "table"},
        {
            "evaluations_per_epoch": 2,
            "monitor": {"balanced_score": 1},
            "negative_sampling_rate": 0.6,
        },
        {"weight_average": 0.5},
    ],
)
def test_what_a_training_has_of_its_options_is_in_its_state(
    data: Path, undisturbed: dict[str, Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    config = replace(CONFIG, **options)
    whole = train_saving(data, tmp_path / "whole", config)
    with ended_at(Stepper, "take", 4, signal.SIGTERM):
        train_saving(data, tmp_path / "cut", config)
    assert_same(train_saving(data, tmp_path / "cut", config), whole)
    assert whole["history"].read_text() != undisturbed["history"].read_text()


def test_a_training_that_patience_ends_within_an_epoch_ends_there_when_resumed(
    data: Path, tmp_path: Path
) -> None:
    config = replace(FOUR_EPOCHS, evaluations_per_epoch=3, patience=2)
    evaluate, aucs = trainer.Trainer.evaluate, {1: 0.6, 2: 0.7, 3: 0.65, 4: 0.64}

    def scripted(self: trainer.Trainer) -> None:
        # By the number of the evaluation, also of one that is made again.
        metrics = aucs[len(self.history) + 1], 0.0
        patch.setattr(trainer, "metrics_of", lambda *_: metrics)
        evaluate(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "evaluate", scripted)
        undisturbed = train_saving(data, tmp_path / "whole", config)
        for place in ((trainer, "predict_logits", 4), (Stepper, "take", 4, signal.SIGTERM)):
            with ended_at(*place):
                train_saving(data, tmp_path / place[1], config)
            assert_same(train_saving(data, tmp_path / place[1], config), undisturbed)
    assert len(undisturbed["history"].read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        (replace(CONFIG, learning_rate=0.01), {}, "belongs to other settings, data or code"),
        (CONFIG, {"code": "another"}, "belongs to other settings, data or code"),
        (CONFIG, {}, "cannot be read (wrong checksum)"),
    ],
    ids=["settings", "code", "damaged"],
)
def test_a_state_that_is_of_no_use_trains_from_the_start_and_says_so(
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    config: TrainConfig,
    options: dict[str, Any],
    said: str,
) -> None:
    with ended_at(Stepper, "take", 4):
        train_saving(data, tmp_path, CONFIG)
    if "checksum" in said:
        state = tmp_path / "training_state/state.safetensors"
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 1
        state.write_bytes(content)
    with counted_steps() as steps:
        train_saving(data, tmp_path, config, **options)
    assert len(steps) == 6
    assert said in caplog.text


def test_two_trainings_of_one_model_keep_apart(data: Path, tmp_path: Path) -> None:
    state = tmp_path / "training_state"
    held = f"""
import sys; sys.path.insert(0, {str(SCRIPTS)!r})
from pathlib import Path
from tossctr.common.files import locked
with locked(Path({str(state)!r}), 'is training this model'):
    print('held', flush=True); sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", held], **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"process {other.pid} on .* is training this model"):
            train_saving(data, tmp_path, CONFIG)
        other.kill()
    # The lock ends with its holder, however that ended.
    with locked(state, "is free"):
        pass


def test_a_state_is_due_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = trainer.Checkpoint(tmp_path, "")
    assert not saved.is_due()
    monkeypatch.setattr(trainer, "SECONDS_BETWEEN_SAVES", 0)
    assert saved.is_due()


def test_a_training_lost_after_its_end_is_not_done_again(
    data: Path, assert_goes_on: Callable[[int], None], tmp_path: Path
) -> None:
    for path in train_saving(data, tmp_path, CONFIG).values():
        path.unlink()
    assert_goes_on(0)


def test_a_full_disk_under_the_state_does_not_end_the_training(
    assert_goes_on: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    original, calls = tensors.save_file, []

    def nearly_full(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) < 5:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        original(*arguments)

    monkeypatch.setattr(tensors, "save_file", nearly_full)
    assert_goes_on(6)
    assert caplog.text.count("could not be saved: I/O error: No space left on device") == 4
