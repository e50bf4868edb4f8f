"""Trainings of several processes: rows, weights, losses, signals, kills."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from support import SCRIPTS
from support.processes import PATIENCE_SECONDS, have_ended, in_processes, workers_of
from support.trainings import (
    OFTEN,
    SMALL_MODEL,
    STILL,
    a_trainer,
    counted_steps,
    ended_at,
    fitted,
    same_weights,
    train,
)
from tossctr.common.errors import UserError
from tossctr.config.declared import Runtime
from tossctr.models.feseq import train_network
from tossctr.models.feseq.network.device import (
    ProcessRank,
    choose_device,
    process_group,
    set_up_machine,
)
from tossctr.models.feseq.training_step import Stepper

# Dropout; batch norms, whose statistics each rank sees in its share; a draw; an average.
DRAWN = replace(SMALL_MODEL, pooling="din")
SHARED = replace(OFTEN, batch_size=153, evaluations_per_epoch=1, epochs=1)
SHARED = replace(SHARED, negative_sampling_rate=0.5, weight_average=0.8)


def start(data: Path, out: Path, **variables: str) -> subprocess.Popen[str]:
    """scripts/train.py, which starts two processes."""
    arguments = {
        "train": data / "train.h5",
        "valid": data / "valid.h5",
        "feature_map": data / "feature_map.json",
        "settings": json.dumps({"model": asdict(STILL), "train": asdict(replace(OFTEN, gpus=2))}),
        "full_name": "toy/len10",
        "runtime": '{"device": "cpu"}',
        "threads": 2,
        "model": out / "model.safetensors",
        "history": out / "history.csv",
        "training": out / "training.json",
    }
    command = [sys.executable, str(SCRIPTS / "train.py")]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    environment = os.environ | variables
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def train_here(data: Path, out: Path, **options: int) -> Path:
    """The training of the script, in this process; the folder of its outputs."""
    train(data, out, replace(OFTEN, **options), STILL)
    return out


def assert_like(actual: Path, expected: Path, evaluations: int) -> None:
    """So many losses and metrics are alike, but for rounding."""
    one, other = (pd.read_csv(folder / "history.csv") for folder in (actual, expected))
    assert len(one) == evaluations
    assert one["train_loss"].round(4).nunique() >= 5
    for name in ("train_loss", "auc", "logloss"):
        np.testing.assert_allclose(one[name], other[name][:evaluations], rtol=2e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of one process."""
    return train_here(data, tmp_path_factory.mktemp("alone"))


def train_as_one_of_several(data: Path, out: Path) -> None:
    """An uninterrupted training, one that goes on after a signal to the second rank, one of SHARED.

    The last writes the rows of each step, and the weights at the end.
    """
    rows: list[list[int]] = []
    take = Stepper.take_step

    def noted(self: Stepper, batch: Any) -> None:
        rows.append(batch.row_B.tolist())
        take(self, batch)

    with process_group() as ranks:
        train_network.process_group = lambda: nullcontext(ranks)  # type: ignore[assignment]
        options = {"gpus": ranks.count, "epochs": 1}
        train_here(data, out / "whole", **options)
        with ended_at(Stepper, "take_step", 10 if ranks.rank == 1 else 0, signal.SIGTERM):
            train_here(data, out / "cut", **options)
        with counted_steps() as resumed:
            train_here(data, out / "cut", **options)
        Stepper.take_step = noted  # type: ignore[method-assign]
        trainer = fitted(data, SHARED, DRAWN, set_up_machine(Runtime(device="cpu"), 1, ranks))
    torch.save((rows, trainer.model.state_dict(), len(resumed)), out / f"rank{ranks.rank}.pt")


@pytest.fixture(scope="module")
def together(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What three processes write."""
    out = tmp_path_factory.mktemp("together")
    in_processes(3, train_as_one_of_several, data, out)
    return out


@pytest.mark.workflow
def test_processes_learn_like_one_and_all_go_on_after_a_signal_to_one(
    alone: Path, together: Path
) -> None:
    assert_like(together / "whole", alone, 5)
    assert json.loads((together / "whole/training.json").read_text())["processes"] == 3
    assert same_weights(*(together / name / "model.safetensors" for name in ("whole", "cut")))


@pytest.mark.workflow
def test_ranks_share_the_batches_of_one_and_end_with_the_same_weights(
    data: Path, together: Path
) -> None:
    saved = [torch.load(together / f"rank{rank}.pt", weights_only=True) for rank in range(3)]
    rows, (first, *others), resumed = zip(*saved)
    with a_trainer(data, SHARED, DRAWN) as trainer:
        shuffled = trainer.train.shuffled(SHARED.seed, 1)
        batches = [sorted(batch.row_B.tolist()) for batch in shuffled]
    steps = [*zip(*rows, strict=True)]
    assert [sorted(row for share in step for row in share) for step in steps] == batches
    # The training that was cut went on, and did not start over.
    assert max(resumed) < 30
    # Two ranks without rows, in the batch of one.
    assert [len(share) for step in steps for share in step].count(0) == 2
    # A norm without rows has counted fewer batches; nothing depends on the count.
    names = [name for name in first if not name.endswith("num_batches_tracked")]
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in names)


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("end", "ended"),
    [
        # As Slurm does: every process gets it.
        (signal.SIGTERM, slice(None)),
        # The last worker, the launcher, Ctrl-C.
        pytest.param(signal.SIGKILL, slice(2, None), marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, slice(1), marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, slice(None), marks=pytest.mark.slow),
    ],
)
def test_after_a_sudden_end_nothing_runs_and_one_process_goes_on(
    data: Path, alone: Path, tmp_path: Path, end: signal.Signals, ended: slice
) -> None:
    # What a pod of Kubeflow has in its environment counts for nothing: torchrun's options, a rank.
    pod = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}
    process = start(data, tmp_path, MASTER_ADDR="node1", MASTER_PORT="29500", **pod)
    # It is saved before the first evaluation.
    while not (tmp_path / "training_state/state.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    workers = workers_of(process.pid)
    for each in [process.pid, *workers][ended]:
        os.kill(each, end)
    _, log = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode != 0, log
    assert have_ended(workers)
    assert not (tmp_path / "model.safetensors").exists()
    # What all processes would log is there once.
    assert log.count("validation rows, max_len") == 1
    with counted_steps() as resumed:
        train_here(data, tmp_path)
    assert len(resumed) < 60
    assert_like(tmp_path, alone, 10)


def test_fewer_gpus_than_asked_for_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"train.gpus is 4, but PyTorch finds only 1 CUDA device"):
        choose_device("auto", ProcessRank(1, 4))
