"""An interrupted training goes on as if nothing had happened, or says why it does not."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from feseq.common import tensors
from feseq.common.errors import UserError
from feseq.config.train import TrainConfig
from feseq.model import FESeq
from feseq.train import checkpoint
from feseq.train import loop as trainer
from feseq.train.checkpoint import Checkpoint
from feseq.train.step import Stepper
from support import SCRIPTS
from support.trainings import FOUR_EPOCHS, CrashError, end_at, ended_at, train_saving


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Outputs of a training that nothing interrupted."""
    return train_saving(data, tmp_path_factory.mktemp("whole"))


def assert_same(found: dict[str, Path], expected: dict[str, Path]) -> None:
    weights, whole = (
        tensors.load(run["model"], torch.from_numpy)["weights"] for run in (found, expected)
    )
    assert all(torch.equal(weights[name], whole[name]) for name in whole)
    # The last column are the seconds.
    lines, whole_lines = (
        [line.rsplit(",", 1)[0] for line in run["history"].read_text().splitlines()]
        for run in (found, expected)
    )
    assert lines == whole_lines
    names = ["history.csv", "model.safetensors", "training.json", "training_state"]
    assert sorted(os.listdir(found["model"].parent)) == names


# Before anything is saved, at an epoch's start, before an evaluation, at the end, and within both.
PLACES = [
    *((Stepper, "take", call) for call in (1, 3, 4, 12)),
    (trainer, "predict_logits", 2),
    (tensors, "save", 6),
]


@pytest.mark.parametrize(
    ("owner", "name", "call", "end"),
    [(*place, end) for place in PLACES for end in (CrashError, signal.SIGTERM)]
    + [(*PLACES[2], signal.SIGINT)],
)
def test_an_interrupted_training_ends_like_an_undisturbed_one(
    data: Path,
    undisturbed: dict[str, Path],
    tmp_path: Path,
    owner: Any,
    name: str,
    call: int,
    end: Any,
) -> None:
    with ended_at(owner, name, call, end) as raised:
        train_saving(data, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    if end == signal.SIGTERM:
        assert raised.value.code == 143
    with pytest.MonkeyPatch.context() as patch:
        steps = end_at(patch, Stepper, "take", 0, None)
        assert_same(train_saving(data, tmp_path), undisturbed)
    # Saved after each step, so that a crash costs the one that it struck, and a signal none.
    if (owner, name) == (Stepper, "take"):
        assert len(steps) == 12 - call + (end is CrashError)


OPTIONS: list[dict[str, Any]] = [
    {"schedule": "cosine", "weight_decay": 0.1, "embedding_second_moment": "table"},
    {"weight_average": 0.5},
    {"evaluations_per_epoch": 2, "monitor": {"balanced_score": 1}},
    {"negative_share": 0.6, "epochs": 5},
]


@pytest.mark.workflow
@pytest.mark.parametrize("options", OPTIONS)
def test_what_a_training_has_of_its_options_is_in_its_state(
    data: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    config = replace(FOUR_EPOCHS, **{"patience": 99} | options)
    undisturbed = train_saving(data, tmp_path / "whole", config)
    plain = train_saving(data, tmp_path / "plain", FOUR_EPOCHS)
    for end, call in ((CrashError, 6), (signal.SIGTERM, 7)):
        folder = tmp_path / str(call)
        with ended_at(Stepper, "take", call, end):
            train_saving(data, folder, config)
        assert_same(train_saving(data, folder, config), undisturbed)
        found, whole = (
            json.loads((path / "training.json").read_text())
            for path in (folder, tmp_path / "whole")
        )
        for name in ("best_step", "learning_rate"):
            assert found[name] == whole[name]
    assert undisturbed["history"].read_text() != plain["history"].read_text()


def test_a_training_that_patience_ends_within_an_epoch_ends_there_when_resumed(
    data: Path, tmp_path: Path
) -> None:
    config = replace(FOUR_EPOCHS, evaluations_per_epoch=3, patience=2)
    aucs = {1: 0.6, 2: 0.7, 3: 0.65, 4: 0.64}
    with pytest.MonkeyPatch.context() as patch:
        # By the number of the evaluation, also of one that is made again.
        patch.setattr(
            trainer.Trainer, "_evaluate", _scripted(trainer.Trainer._evaluate, aucs, patch)
        )
        undisturbed = train_saving(data, tmp_path / "whole", config)
        with ended_at(trainer, "predict_logits", 4):
            train_saving(data, tmp_path / "ended", config)
        with ended_at(Stepper, "take", 4, signal.SIGTERM):
            train_saving(data, tmp_path / "asked", config)
        for folder in ("ended", "asked"):
            assert_same(train_saving(data, tmp_path / folder, config), undisturbed)
    assert len(undisturbed["history"].read_text().splitlines()) == 5


def _scripted(original: Any, aucs: dict[int, float], patch: pytest.MonkeyPatch) -> Any:
    def evaluate(self: trainer.Trainer) -> None:
        metrics = {"auc": aucs[len(self.history) + 1], "logloss": 0.0}
        patch.setattr(trainer, "monitored_metrics", lambda *_: metrics)
        original(self)

    return evaluate


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(
    data: Path, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    # Memory is measured by two forward passes, and three steps come before the evaluation.
    with ended_at(FESeq, "forward", 6, signal.SIGTERM):
        train_saving(data, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        steps = end_at(patch, Stepper, "take", 0, None)
        assert_same(train_saving(data, tmp_path), undisturbed)
    assert len(steps) == 9


@pytest.mark.parametrize(
    ("config", "options"),
    [(replace(FOUR_EPOCHS, learning_rate=0.01), {}), (FOUR_EPOCHS, {"code": ["model.py@1"]})],
)
def test_other_settings_or_code_train_from_the_start_and_say_so(
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    config: TrainConfig,
    options: dict[str, Any],
) -> None:
    (tmp_path / "a").mkdir()
    with ended_at(Stepper, "take", 7):
        train_saving(data, tmp_path / "a")
    found = train_saving(data, tmp_path / "a", config, **options)
    assert "belongs to other settings, data or code: training from the start" in caplog.text
    assert_same(found, train_saving(data, tmp_path / "b", config, **options))


def test_a_damaged_state_trains_from_the_start_and_says_so(
    data: Path, undisturbed: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ended_at(Stepper, "take", 7):
        train_saving(data, tmp_path)
    state = tmp_path / "training_state/state.safetensors"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    found = train_saving(data, tmp_path)
    assert "cannot be read (wrong checksum)" in caplog.text
    assert_same(found, undisturbed)


def test_two_trainings_of_one_model_keep_apart(data: Path, tmp_path: Path) -> None:
    held = "\n".join(
        [
            f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})",
            "from pathlib import Path",
            "from feseq.train.checkpoint import locked",
            f"with locked(Path({str(tmp_path / 'training_state')!r}), 'is training this model'):",
            "    print('held', flush=True); sys.stdin.read()",
        ]
    )
    other = subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"held\n"
    try:
        with pytest.raises(UserError, match=f"process {other.pid} on .* is training this model"):
            train_saving(data, tmp_path)
    finally:
        other.kill()
        other.wait()
    # The lock ends with its holder, however that ended.
    assert train_saving(data, tmp_path)["model"].exists()


def test_a_state_is_due_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Checkpoint(tmp_path, "")
    assert not saved.is_due()
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_SAVES", 0)
    assert saved.is_due()


def test_a_training_lost_after_its_end_is_not_done_again(
    data: Path, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    outputs = train_saving(data, tmp_path)
    for name in ("model", "history", "training"):
        outputs[name].unlink()
    with pytest.MonkeyPatch.context() as patch:
        steps = end_at(patch, Stepper, "take", 0, None)
        assert_same(train_saving(data, tmp_path), undisturbed)
    assert steps == []


def test_a_full_disk_under_the_state_does_not_end_the_training(
    data: Path,
    undisturbed: dict[str, Path],
    tmp_path: Path,
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
    assert_same(train_saving(data, tmp_path), undisturbed)
    assert caplog.text.count("could not be saved: I/O error: No space left on device") == 4


def test_progress_of_a_resumed_training_counts_on_and_ends_at_all_samples(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("feseq.common.progress.SECONDS_BETWEEN_LINES", (0, 0, 0))
    with ended_at(Stepper, "take", 6, signal.SIGTERM):
        train_saving(data, tmp_path, verbosity=2)
    train_saving(data, tmp_path, verbosity=2)
    done = re.findall(r"trained ([\d,]+) of 3,600 samples, ", caplog.text)
    assert done == [f"{300 * step:,}" for step in range(1, 13)]
    assert caplog.text.count("predicted 100 of 100 rows") == 4
