"""Several processes at one training: the losses of one process, each row once, one writer."""

import csv
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feseq.common import tensors
from feseq.common.errors import UserError
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from feseq.dataset.feature_map import FeatureMap
from feseq.machine.ranks import Ranks, joined, process_rank
from feseq.machine.runtime import Machine, choose_device, start_runtime
from feseq.staleness.code import code_digests
from feseq.train.launch import launch
from feseq.train.resume import SavedTraining
from feseq.train.run import TrainingRun, make_trainer, opened, train_model
from feseq.train.step import Stepper
from support import SCRIPTS
from support.trainings import SMALL_MODEL, TRAIN

pytestmark = pytest.mark.workflow
STILL = replace(SMALL_MODEL, dropout=0.0)
# 30 steps an epoch, the last one of a single row; an evaluation, and so a loss, after each.
EACH_STEP = replace(TRAIN, batch_size=31, epochs=2, eval_steps=1, patience=99)


def a_run(data: Path, model: ModelConfig, config: TrainConfig) -> TrainingRun:
    files = (data / name for name in ("train.h5", "valid.h5", "feature_map.json"))
    return TrainingRun(*files, model, config)


def train(data: Path, out: Path, config: TrainConfig, **options: Any) -> Path:
    outputs = {"model": "model.safetensors", "history": "history.csv", "training": "training.json"}
    train_model(
        a_run(data, STILL, config),
        {name: out / file for name, file in outputs.items()},
        runtime=Runtime(**{"device": "cpu", "verbosity": 0} | options),
        threads=config.gpus,
        code=code_digests(SCRIPTS / "train.py"),
    )
    return out


def start(
    data: Path, out: Path, *launcher: str, gpus: int = 2, nodes: int = 1, **variables: str
) -> subprocess.Popen[str]:
    """scripts/train.py in a process group of its own; its state is saved after each step."""
    settings = asdict(replace(EACH_STEP, gpus=gpus, nodes=nodes))
    arguments = {
        "train": data / "train.h5",
        "valid": data / "valid.h5",
        "feature_map": data / "feature_map.json",
        "model_config": json.dumps(asdict(STILL)),
        "train_config": json.dumps(settings),
        "runtime": '{"device": "cpu", "save_minutes": 0}',
        "threads": gpus,
        "model": out / "model.safetensors",
        "history": out / "history.csv",
        "training": out / "training.json",
    }
    command = [*(launcher or (sys.executable,)), str(SCRIPTS / "train.py")]
    command += [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | variables,
    )


def wait_for_state(out: Path, *processes: subprocess.Popen[str]) -> None:
    """Return once the first step is saved."""
    while not (out / "training_state/state.safetensors").exists():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and log of a process."""
    _, log = process.communicate(timeout=120)
    assert "Traceback" not in log, log
    return process.returncode, log


def running(process: subprocess.Popen[str]) -> list[int]:
    """The processes of its group that still run, within some seconds; a dead one may be unread."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        alive = [
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if (stat := _stat(folder)) and stat[0] != "Z" and int(stat[2]) == process.pid
        ]
        if not alive:
            break
        time.sleep(0.05)
    return alive


def _stat(process: Path) -> list[str]:
    try:
        return (process / "stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def history(folder: Path) -> dict[str, np.ndarray]:
    with open(folder / "history.csv") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def assert_like(found: Path, expected: Path) -> None:
    """Losses and metrics of all steps are alike, but for rounding."""
    one, other = history(found), history(expected)
    assert len(one["train_loss"]) == 60
    for name in ("train_loss", "auc", "logloss"):
        np.testing.assert_allclose(one[name], other[name], rtol=2e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of one process."""
    return train(data, tmp_path_factory.mktemp("alone"), EACH_STEP)


@pytest.fixture(scope="module")
def together(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The outputs of two processes that the script starts, and their log."""
    out = tmp_path_factory.mktemp("together")
    code, log = end_of(start(data, out))
    assert code == 0, log
    return out, log


def test_the_losses_of_all_steps_are_those_of_one_process(
    alone: Path, together: tuple[Path, str]
) -> None:
    out, log = together
    assert_like(out, alone)
    assert len(set(history(out)["train_loss"].round(4))) > 20
    assert json.loads((out / "training.json").read_text())["processes"] == 2
    names = ["history.csv", "model.safetensors", "training.json", "training_state"]
    assert sorted(os.listdir(out)) == names
    # What all of them would log is there once, as is that there is no GPU.
    assert log.count("training on SIMULATED data") == 1
    assert log.count("2 processes share") == 1
    assert log.count("epoch 2, step 60") == 1


def follow(data: Path, out: Path, model: ModelConfig, **settings: Any) -> None:
    """Train as one of several; write the rows of each step, and the weights at the end."""
    rows: list[list[int]] = []
    take = Stepper.take

    def noted(self: Stepper, batch: Any) -> None:
        rows.append(batch.row_B.tolist())
        take(self, batch)

    Stepper.take = noted  # type: ignore[method-assign]
    network = fit(a_run(data, model, replace(EACH_STEP, **{"eval_steps": None} | settings)))
    (out / f"rows{process_rank()}.json").write_text(json.dumps(rows))
    torch.save(network.state_dict(), out / f"weights{process_rank()}.pt")


def fit(run: TrainingRun, saved: SavedTraining | None = None) -> torch.nn.Module:
    """Train as one of several."""
    feature_map = FeatureMap.read(run.feature_map_json)
    with joined() as ranks:
        machine = start_runtime(Runtime(device="cpu"), 1, ranks)
        with opened(run, feature_map, machine) as sources:
            trainer = make_trainer(run, feature_map, sources, machine, saved=saved, verbosity=0)
            trainer.fit()
    return trainer.model


def test_ranks_see_each_row_once_an_epoch_and_end_with_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    # With dropout, and with batch norms, whose statistics each rank sees in its share.
    model = replace(SMALL_MODEL, pooling="weighted_sum", score="din")
    launch(3, follow, data, tmp_path, model)
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
        # A norm without rows has counted fewer batches; nothing depends on the count.
        names = [name for name in first if not name.endswith("num_batches_tracked")]
        assert all(torch.equal(first[name], other[name]) for name in names)


def test_ranks_draw_the_same_share_and_keep_the_same_average(data: Path, tmp_path: Path) -> None:
    settings = {"negative_share": 0.5, "weight_average": 0.8, "epochs": 1, "schedule": "cosine"}
    launch(2, partial(follow, **settings), data, tmp_path, STILL)
    rows = [json.loads((tmp_path / f"rows{rank}.json").read_text()) for rank in range(2)]
    run = a_run(data, STILL, replace(EACH_STEP, **{"eval_steps": None} | settings))
    with opened(run, FeatureMap.read(run.feature_map_json), Machine(torch.device("cpu"))) as (
        source,
        _,
    ):
        batches = [batch.row_B.tolist() for batch in source.shuffled(run.train_config.seed, 1)]
    assert [sorted(step[0] + step[1]) for step in zip(*rows)] == list(map(sorted, batches))
    first, other = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert all(torch.equal(first[name], other[name]) for name in first)


def follow_saves(data: Path, out: Path) -> None:
    """Train with a state that is due for the second rank at each step; count how often it is."""
    rank = process_rank()
    # The one that does not save does not learn when the other did.
    saved = SavedTraining(out, "", minutes_between=0 if rank else 1e9)
    saves, save = [], saved.save

    def counted(state: dict[str, Any]) -> bool:
        saves.append(state["stepper"]["step"])
        return save(state)

    saved.save = counted  # type: ignore[method-assign]
    fit(a_run(data, STILL, replace(EACH_STEP, epochs=1, eval_steps=None)), saved)
    (out / f"saves{rank}.json").write_text(json.dumps(saves))


def lose_state(data: Path, out: Path) -> None:
    """Resume from a state that the second rank cannot read."""
    saved = SavedTraining(out, "", minutes_between=0)
    if process_rank():
        saved.load = lambda: None  # type: ignore[method-assign]
    fit(a_run(data, STILL, EACH_STEP), saved)


def test_the_first_saves_by_its_own_clock_and_all_resume_from_the_same_state_or_none_does(
    data: Path, tmp_path: Path
) -> None:
    launch(2, follow_saves, data, tmp_path)
    # After the evaluation alone.
    assert json.loads((tmp_path / "saves0.json").read_text()) == [30]
    assert json.loads((tmp_path / "saves1.json").read_text()) == []
    before = (tmp_path / "state.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"not all processes .* could read its saved state"):
        launch(2, lose_state, data, tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def workers_of(launcher: subprocess.Popen[str]) -> list[int]:
    """The processes of its ranks, in order; it also runs a tracker of resources."""
    children = Path(f"/proc/{launcher.pid}/task").glob("*/children")
    found = {int(child) for file in children for child in file.read_text().split()}
    return sorted(
        child for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    )


def test_sigterm_saves_and_the_same_command_resumes(
    data: Path, together: tuple[Path, str], tmp_path: Path
) -> None:
    process = start(data, tmp_path)
    wait_for_state(tmp_path, process)
    # As Slurm does: every process gets it.
    os.killpg(process.pid, signal.SIGTERM)
    code, log = end_of(process)
    assert code == 143, log
    assert re.search(r"interrupted at step \d+; its state is saved", log), log
    assert not (tmp_path / "model.safetensors").exists()
    assert not running(process)
    code, log = end_of(start(data, tmp_path))
    assert code == 0, log
    assert "resuming an interrupted training" in log
    found, expected = (
        tensors.load(folder / "model.safetensors")["weights"] for folder in (tmp_path, together[0])
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_death_of_a_process_is_one_line_and_one_process_alone_resumes(
    data: Path, alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = start(data, tmp_path)
    wait_for_state(tmp_path, process)
    os.kill(workers_of(process)[1], signal.SIGKILL)
    code, log = end_of(process)
    assert code == 1
    (line,) = (line for line in log.splitlines() if "ERROR" in line)
    assert re.search(r"a worker .* was ended by SIGKILL, perhaps for lack of memory; the", line)
    assert not running(process)
    caplog.set_level(logging.INFO)
    assert_like(train(data, tmp_path, EACH_STEP, verbosity=1), alone)
    assert "resuming an interrupted training" in caplog.text


def test_no_process_outlives_a_killed_launcher(data: Path, tmp_path: Path) -> None:
    process = start(data, tmp_path)
    wait_for_state(tmp_path, process)
    process.kill()
    process.communicate(timeout=60)
    assert not running(process)


def test_ctrl_c_saves(data: Path, tmp_path: Path) -> None:
    process = start(data, tmp_path)
    wait_for_state(tmp_path, process)
    # As a terminal does: every process gets it.
    os.killpg(process.pid, signal.SIGINT)
    code, log = end_of(process)
    assert code == 130, log
    assert "its state is saved" in log
    assert log.splitlines()[-1].endswith(
        "interrupted; the same command goes on with what is missing"
    )


def start_two(data: Path, out: Path) -> list[subprocess.Popen[str]]:
    """A launcher of one process for each of two machines, which meet on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start(data, out, gpus=1, nodes=2, NODE_RANK=str(node), **meeting) for node in range(2)]


def test_launchers_of_two_machines_meet(data: Path, alone: Path, tmp_path: Path) -> None:
    (code, log), (other_code, other_log) = map(end_of, start_two(data, tmp_path))
    assert (code, other_code) == (0, 0), log + other_log
    assert_like(tmp_path, alone)
    assert "epoch 2, step 60" in log
    # The second machine has nothing to add.
    assert other_log == ""


SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do echo "srun option $1" >&2; shift; done
SLURM_NODEID=0 "$@" & first=$!
SLURM_NODEID=1 "$@" || exit
wait $first
"""


@pytest.mark.slow
def test_a_slurm_job_of_two_machines_starts_the_second_by_srun(
    data: Path, alone: Path, tmp_path: Path
) -> None:
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    process = start(data, tmp_path / "out", gpus=1, nodes=2, SLURM_JOB_ID="77", PATH=path)
    code, log = end_of(process)
    assert code == 0, log
    assert_like(tmp_path / "out", alone)
    assert "srun option --nodes=2\n" in log
    assert log.count("epoch 2, step 60") == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_where_a_launcher_is_killed_the_other_machine_ends_too(
    data: Path, tmp_path: Path, victim: int
) -> None:
    launchers = start_two(data, tmp_path)
    wait_for_state(tmp_path, *launchers)
    launchers[victim].kill()
    launchers[victim].communicate(timeout=60)
    assert not running(launchers[victim])
    code, log = end_of(launchers[1 - victim])
    assert code == 1
    assert "the processes of this training lost one another" in log
    assert not running(launchers[1 - victim])


@pytest.mark.slow
def test_processes_that_torchrun_has_started_join_one_another(
    data: Path, alone: Path, tmp_path: Path
) -> None:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3")
    code, log = end_of(start(data, tmp_path, *torchrun, gpus=1))
    assert code == 0, log
    assert_like(tmp_path, alone)
    assert json.loads((tmp_path / "training.json").read_text())["processes"] == 3
    assert log.count("epoch 2, step 60") == 1


@pytest.mark.slow
def test_a_training_resumes_with_more_processes(
    data: Path, alone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process = start(data, tmp_path)
    wait_for_state(tmp_path, process)
    process.terminate()
    assert end_of(process)[0] == 143
    assert_like(train(data, tmp_path, replace(EACH_STEP, gpus=3), verbosity=1), alone)
    assert "resuming an interrupted training" in capfd.readouterr().err


def test_fewer_gpus_than_asked_for_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"train.gpus is 4, and PyTorch finds 1 CUDA devices"):
        choose_device("auto", Ranks(1, 8, 1, 4))


def test_an_error_of_the_training_is_that_of_one_process(data: Path, tmp_path: Path) -> None:
    config = replace(EACH_STEP, gpus=2, embedding_l2=1e300, eval_steps=None)
    with pytest.raises(UserError, match=r"the training loss is nan at step \d"):
        train(data, tmp_path, config)
