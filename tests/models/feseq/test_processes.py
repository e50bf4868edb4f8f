"""Trainings of several processes: rows, weights, losses, signals, kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from support import SCRIPTS
from support.processes import PATIENCE_SECONDS, have_ended, in_processes, read_until, workers_of
from support.trainings import CPU, OFTEN, SMALL_MODEL, STILL, a_trainer, fitted, same_weights, train
from tossctr.common.errors import UserError
from tossctr.config.declared import Runtime
from tossctr.models.feseq.network.device import Ranks, choose_device, joined, start_runtime
from tossctr.models.feseq.training_loop import Checkpoint, Trainer
from tossctr.models.feseq.training_step import Stepper

# Dropout; batch norms, whose statistics each rank sees in its share; a draw; an average.
DRAWN = replace(SMALL_MODEL, pooling="din")
SHARED = replace(
    OFTEN,
    batch_size=153,
    evaluations_per_epoch=1,
    negative_sampling_rate=0.5,
    weight_average=0.8,
    embedding_second_moment="table",
    epochs=1,
    schedule="cosine",
)


def start(data: Path, out: Path, *, gpus: int = 2, **variables: str) -> subprocess.Popen[str]:
    """scripts/train.py in a process group of its own."""
    training = replace(OFTEN, gpus=gpus)
    arguments = {
        "train": data / "train.h5",
        "valid": data / "valid.h5",
        "feature_map": data / "feature_map.json",
        "settings": json.dumps({"model": asdict(STILL), "train": asdict(training)}),
        "full_name": "toy/len10",
        "runtime": '{"device": "cpu"}',
        "threads": gpus,
        "model": out / "model.safetensors",
        "history": out / "history.csv",
        "training": out / "training.json",
    }
    command = [sys.executable, str(SCRIPTS / "train.py")]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    options: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen(command, env=os.environ | variables, **options)


def train_here(data: Path, out: Path, gpus: int = 1) -> None:
    """The training of the script, in this process."""
    train(data, out, replace(OFTEN, gpus=gpus), STILL)


def assert_like(actual: Path, expected: Path) -> None:
    """Losses and metrics are alike, but for rounding."""
    one, other = (pd.read_csv(folder / "history.csv") for folder in (actual, expected))
    assert len(one["train_loss"]) == 20
    for name in ("train_loss", "auc", "logloss"):
        np.testing.assert_allclose(one[name], other[name], rtol=2e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of one process."""
    out = tmp_path_factory.mktemp("alone")
    train_here(data, out)
    return out


@pytest.mark.workflow
def test_two_processes_learn_like_one_and_go_on_after_a_sigterm_as_one_or_two(
    data: Path, alone: Path, tmp_path: Path
) -> None:
    together, out = tmp_path / "together", tmp_path / "out"
    in_processes(2, train_here, data, together, 2)
    assert_like(together, alone)
    assert pd.read_csv(together / "history.csv")["train_loss"].round(4).nunique() > 10
    assert json.loads((together / "training.json").read_text())["processes"] == 2
    # What a pod of Kubeflow has in its environment counts for nothing: torchrun's options, a rank.
    pod = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}
    process = start(data, out, MASTER_ADDR="node1", MASTER_PORT="29500", **pod)
    read_until(process, ": train loss ")
    workers = workers_of(process.pid)
    # As Slurm does: every process gets it.
    for each in (process.pid, *workers):
        os.kill(each, signal.SIGTERM)
    _, log = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode != 0, log
    assert (out / "training_state/state.safetensors").exists()
    assert not (out / "model.safetensors").exists()
    assert have_ended(workers)
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    in_processes(2, train_here, data, out, 2)
    assert same_weights(*(folder / "model.safetensors" for folder in (together, out)))
    train_here(data, copy)
    assert_like(copy, alone)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["worker killed", "launcher killed", "Ctrl-C"])
def test_after_a_sudden_end_nothing_runs_and_three_processes_go_on(
    data: Path, alone: Path, tmp_path: Path, end: str
) -> None:
    process = start(data, tmp_path)
    # It is saved before the first evaluation.
    while not (tmp_path / "training_state/state.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    workers = workers_of(process.pid)
    if end == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(workers[1] if end == "worker killed" else process.pid, signal.SIGKILL)
    _, log = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode != 0, log
    assert have_ended(workers)
    # What all processes would log is there once.
    assert log.count("validation rows, max_len") == 1
    # Saved before an evaluation too, which a signal ends at once.
    in_processes(3, train_here, data, tmp_path, 3)
    assert_like(tmp_path, alone)


def test_a_process_of_torchrun_alone_meets_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "no.such.host"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with joined() as ranks:
        assert ranks == Ranks()


@pytest.mark.workflow
def test_one_that_waits_for_others_in_vain_ends_at_a_signal(data: Path, tmp_path: Path) -> None:
    place = {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "other"}
    # 0 is any free port.
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    process = start(data, tmp_path, gpus=1, **place, **meeting)
    read_until(process, "process 0 of 2 waits")
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM


def follow(data: Path, out: Path) -> None:
    """Train as one of several; write the rows of each step, and the weights at the end."""
    rows: list[list[int]] = []
    take = Stepper.take

    def noted(self: Stepper, batch: Any) -> None:
        rows.append(batch.row_B.tolist())
        take(self, batch)

    Stepper.take = noted  # type: ignore[method-assign]
    with joined() as ranks:
        trainer = fitted(data, SHARED, DRAWN, start_runtime(Runtime(device="cpu"), 1, ranks))
    (out / f"rows{ranks.rank}.json").write_text(json.dumps(rows))
    torch.save(trainer.model.state_dict(), out / f"weights{ranks.rank}.pt")


@pytest.mark.workflow
def test_ranks_share_the_batches_of_one_and_end_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    in_processes(3, follow, data, tmp_path)
    rows = [json.loads((tmp_path / f"rows{rank}.json").read_text()) for rank in range(3)]
    with a_trainer(data, SHARED, DRAWN) as trainer:
        shuffled = trainer.train.shuffled(SHARED.seed, 1)
        batches = [sorted(batch.row_B.tolist()) for batch in shuffled]
    steps = [*zip(*rows, strict=True)]
    assert [sorted(row for share in step for row in share) for step in steps] == batches
    # Two ranks without rows, in the batch of one.
    assert [len(share) for step in steps for share in step].count(0) == 2
    first, *others = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(3)
    )
    # A norm without rows has counted fewer batches; nothing depends on the count.
    names = [name for name in first if not name.endswith("num_batches_tracked")]
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in names)


def test_only_the_first_saves_and_by_its_own_clock(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor, operation: None)
    # All gather what is saved.
    gathered: list[int] = []
    save = Trainer.save
    monkeypatch.setattr(Trainer, "save", lambda self: (gathered.append(self.step), save(self))[1])
    saved = Checkpoint(tmp_path, "")
    for rank, expected in ((0, [30]), (1, [])):
        saves: list[dict[str, Any]] = []
        monkeypatch.setattr(saved, "is_due", partial(bool, rank))
        monkeypatch.setattr(saved, "save", saves.append)
        machine = replace(CPU, ranks=Ranks(rank, 2))
        config = replace(OFTEN, epochs=1, evaluations_per_epoch=1)
        fitted(data, config, STILL, machine, checkpoint=saved)
        # Before the evaluation alone.
        assert [state["stepper"]["step"] for state in saves] == expected
    assert gathered == [30, 30]


def test_fewer_gpus_than_asked_for_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"train.gpus is 4, and PyTorch finds 1 CUDA devices"):
        choose_device("auto", Ranks(1, 4))
