"""Several processes at one training: the losses of one process, each row once, one writer."""

import csv
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feseq.common import tensors
from feseq.common.errors import UserError
from feseq.dataset.feature_map import FeatureMap
from feseq.machine.ranks import Ranks, joined
from feseq.machine.runtime import choose_device, start_runtime
from feseq.machine.workers import run_workers
from feseq.model import ModelConfig
from feseq.staleness.code import code_digests
from feseq.train.loop import TrainConfig
from feseq.train.resume import SavedTraining
from feseq.train.run import TrainingRun, make_trainer, train_model
from feseq.train.step import Stepper
from support import SCRIPTS
from support.trainings import MODEL, TRAIN

pytestmark = pytest.mark.workflow
STILL = replace(MODEL, dropout=0.0)
# 30 steps an epoch, the last one of a single row; an evaluation, and so a loss, after each.
EACH_STEP = replace(TRAIN, batch_size=31, epochs=1, eval_steps=1, patience=99)


def a_run(data: Path, model: ModelConfig, config: TrainConfig) -> TrainingRun:
    files = (data / name for name in ("train.h5", "valid.h5", "feature_map.json"))
    return TrainingRun(*files, model, config)


def train(
    data: Path, out: Path, config: TrainConfig, model: ModelConfig = STILL, **options: Any
) -> Path:
    outputs = {"model": "model.safetensors", "history": "history.csv", "training": "training.json"}
    train_model(
        a_run(data, model, config),
        {name: out / file for name, file in outputs.items()},
        runtime={"device": "cpu", "verbosity": 0} | options,
        threads=2,
        code=code_digests(SCRIPTS / "train.py"),
    )
    return out


def history(folder: Path) -> dict[str, np.ndarray]:
    with open(folder / "history.csv") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return tensors.load(folder / "model.safetensors")["weights"]


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of one process."""
    return train(data, tmp_path_factory.mktemp("alone"), EACH_STEP)


def test_the_losses_of_all_steps_are_those_of_one_process(
    data: Path, alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Verbosity 2 shows the loss now and then, which asks all of them.
    together = train(data, tmp_path, replace(EACH_STEP, gpus=2), verbosity=2)
    found, expected = history(together), history(alone)
    assert len(found["train_loss"]) == 30
    for name in ("train_loss", "auc", "logloss"):
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-4, err_msg=name)
    assert len(set(expected["train_loss"].round(4))) > 20
    assert json.loads((together / "training.json").read_text())["processes"] == 2
    names = ["history.csv", "model.safetensors", "training.json", "training_state"]
    assert sorted(os.listdir(together)) == names
    # What all of them would say is said once, and that there is no GPU is said.
    assert caplog.text.count("training on SIMULATED data") == 1
    assert caplog.text.count("2 processes share it") == 1


def follow(rank: int, ranks: int, meeting: Path, data: Path, out: Path, model: ModelConfig) -> None:
    """Train as one of several; write the rows of each step, and the weights at the end."""
    rows: list[list[int]] = []
    take = Stepper.take

    def noted(self: Stepper, batch: Any) -> None:
        rows.append(batch.row_B.tolist())
        take(self, batch)

    Stepper.take = noted  # type: ignore[method-assign]
    run = a_run(data, model, replace(EACH_STEP, eval_steps=None, epochs=2))
    with joined(rank, ranks, meeting) as place:
        machine = start_runtime({"device": "cpu"}, 1, place)
        feature_map = FeatureMap.read(run.feature_map_json)
        trainer = make_trainer(run, feature_map, machine, 0)
        trainer.fit()
    (out / f"rows{rank}.json").write_text(json.dumps(rows))
    torch.save(trainer.model.state_dict(), out / f"weights{rank}.pt")


def test_ranks_see_each_row_once_an_epoch_and_end_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    # With dropout, and with batch norms, whose statistics each rank sees in its share.
    model = replace(MODEL, pooling="weighted_sum", score="din")
    run_workers(3, follow, 3, tmp_path / "meeting", data, tmp_path, model)
    rows = [json.loads((tmp_path / f"rows{rank}.json").read_text()) for rank in range(3)]
    assert {len(steps) for steps in rows} == {60}
    for epoch in (slice(0, 30), slice(30, 60)):
        seen = sorted(row for steps in rows for step in steps[epoch] for row in step)
        assert seen == list(range(900))
    # The step of one row, in which two ranks have none.
    assert sorted(len(steps[i]) for steps in rows for i in range(30)).count(0) == 2
    first, *others = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(3)
    )
    for other in others:
        # Of batches that a norm saw, one without rows has seen fewer; nothing depends on it.
        names = [name for name in first if not name.endswith("num_batches_tracked")]
        assert all(torch.equal(first[name], other[name]) for name in names)


def follow_saves(rank: int, ranks: int, meeting: Path, data: Path, out: Path) -> None:
    """Train with a state that is due for the second rank at each step; count how often it is."""
    # The one that does not save does not learn when the other did.
    saved = SavedTraining(out, "", minutes_between=0 if rank else 1e9)
    saves, save = [], saved.save

    def counted(state: dict[str, Any]) -> bool:
        saves.append(state["stepper"]["step"])
        return save(state)

    saved.save = counted  # type: ignore[method-assign]
    run = a_run(data, STILL, replace(EACH_STEP, eval_steps=None))
    with joined(rank, ranks, meeting) as place:
        machine = start_runtime({"device": "cpu"}, 1, place)
        make_trainer(run, FeatureMap.read(run.feature_map_json), machine, 0).fit(saved)
    (out / f"saves{rank}.json").write_text(json.dumps(saves))


def test_the_first_saves_when_its_own_clock_says_so(data: Path, tmp_path: Path) -> None:
    run_workers(2, follow_saves, 2, tmp_path / "meeting", data, tmp_path)
    # After the evaluation alone.
    assert json.loads((tmp_path / "saves0.json").read_text()) == [30]
    assert json.loads((tmp_path / "saves1.json").read_text()) == []


def lose_state(rank: int, ranks: int, meeting: Path, data: Path, out: Path) -> None:
    """Go on from a state that the second rank cannot read."""
    saved = SavedTraining(out, "", minutes_between=0)
    if rank:
        saved.load = lambda: None  # type: ignore[method-assign]
    run = a_run(data, STILL, replace(EACH_STEP, epochs=2))
    with joined(rank, ranks, meeting) as place:
        machine = start_runtime({"device": "cpu"}, 1, place)
        make_trainer(run, FeatureMap.read(run.feature_map_json), machine, 0).fit(saved)


def test_all_go_on_from_the_same_state_or_none_does(data: Path, tmp_path: Path) -> None:
    run_workers(2, follow_saves, 2, tmp_path / "meeting", data, tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"not all processes .* could read its saved state"):
        run_workers(2, lose_state, 2, tmp_path / "another", data, tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == before


COMMAND = {"epochs": 2, "eval_steps": None, "gpus": 2}


def start(data: Path, out: Path, config: TrainConfig) -> subprocess.Popen[str]:
    """scripts/train.py in a process group of its own; its state is saved after each step."""
    settings = {key: value for key, value in asdict(config).items() if key != "gpus"}
    arguments = {
        "train": data / "train.h5",
        "valid": data / "valid.h5",
        "feature_map": data / "feature_map.json",
        "model_config": json.dumps(asdict(MODEL)),
        "train_config": json.dumps(settings),
        "gpus": config.gpus,
        "runtime": '{"device": "cpu", "save_minutes": 0}',
        "threads": 2,
        "model": out / "model.safetensors",
        "history": out / "history.csv",
        "training": out / "training.json",
    }
    command = [sys.executable, str(SCRIPTS / "train.py")]
    command += [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes of its ranks, in order; their starter also runs a tracker of resources."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    ]


def of_group(process: subprocess.Popen[str]) -> None:
    """As Slurm does: every process gets it."""
    os.killpg(process.pid, signal.SIGTERM)


def kill_of(rank: int) -> Callable[[subprocess.Popen[str]], None]:
    return lambda process: os.kill(ranks_of(process)[rank], signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("whole"), replace(EACH_STEP, **COMMAND), MODEL)


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        (of_group, 143, r"interrupted at step (\d+); its state is saved"),
        (kill_of(0), 1, "ERROR a worker .* was ended by SIGKILL, perhaps for lack of memory; the"),
    ],
)
def test_the_end_of_one_or_all_is_told_and_the_same_command_goes_on(
    data: Path,
    undisturbed: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    end: Callable[[subprocess.Popen[str]], None],
    status: int,
    words: str,
) -> None:
    config = replace(EACH_STEP, **COMMAND)
    process = start(data, tmp_path, config)
    state = tmp_path / "training_state/state.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.02)
    end(process)
    _, log = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in log) == (status, False), log
    assert re.search(words, log), log
    assert not (tmp_path / "model.safetensors").exists()
    caplog.set_level(logging.INFO)
    resumed = train(data, tmp_path, config, MODEL, verbosity=1)
    assert "going on where an interrupted training stood" in caplog.text
    found, expected = weights(resumed), weights(undisturbed)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_training_goes_on_with_another_number_of_processes(
    data: Path, alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feseq.train.loop.Trainer.fit", _crash_after(12))
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path, EACH_STEP, save_minutes=0)
    caplog.set_level(logging.INFO)
    together = train(data, tmp_path, replace(EACH_STEP, gpus=2), verbosity=1)
    assert "going on where an interrupted training stood: epoch 1, step 12" in caplog.text
    np.testing.assert_allclose(
        history(together)["train_loss"], history(alone)["train_loss"], rtol=2e-4
    )


def _crash_after(step: int) -> Callable[..., None]:
    from feseq.train.loop import Trainer

    fit = Trainer.fit

    def crashing(self: Trainer, saved: Any) -> None:
        def crash(_: Any) -> None:
            if self.step == step + 1:
                raise KeyboardInterrupt

        self.after_evaluation = crash
        fit(self, saved)

    return crashing


def test_fewer_gpus_than_asked_for_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        UserError, match=r"train.gpus is 4, and PyTorch finds 1 CUDA devices; lower"
    ):
        choose_device("auto", Ranks(0, 4))


def test_what_fails_in_one_process_is_told_as_of_one(data: Path, tmp_path: Path) -> None:
    config = replace(EACH_STEP, gpus=2)
    with pytest.raises(UserError, match=r"the training loss is nan at step \d"):
        train(data, tmp_path, replace(config, learning_rate=1e30, eval_steps=None))
