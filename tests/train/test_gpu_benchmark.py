"""The benchmark of a GPU, where one is pretended: it must not fail on a rented machine."""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from feseq.common.errors import UserError
from feseq.model.device import Machine
from support import REPOSITORY
from support.pretended_gpu import pretended_gpu

sys.path.append(str(REPOSITORY / "benchmarks"))
import gpu
from cards import peak_of
from sections import FAILED, run


@pytest.mark.workflow
@pytest.mark.parametrize(
    "section", [gpu.card, gpu.speed_toy, gpu.waits, gpu.fits, gpu.small_cards, gpu.processes]
)
def test_a_section_runs(data: Path, monkeypatch: pytest.MonkeyPatch, section: Any) -> None:
    monkeypatch.setattr(gpu, "matmul_peak", lambda *_: 50.0)
    setting = gpu.Setting(data, argparse.Namespace(device="cuda", tiny=True, threads=1))
    with pretended_gpu(memory=80 << 30):
        rows = list(section(setting))
    assert rows
    assert all(len(row) == len(gpu.COLUMNS) for row in rows)
    assert not {gpu.CPU_NEEDS, FAILED} & {cell for row in rows for cell in row}


def test_a_way_that_fails_is_said_and_the_next_one_is_measured(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no such kernel")

    def repaired(machine: Machine) -> Machine:
        monkeypatch.undo()
        return machine

    setting = gpu.Setting(data, argparse.Namespace(device="cpu", tiny=True, threads=1))
    monkeypatch.setattr(gpu.attention, "by_length", failing)
    monkeypatch.setattr(gpu, "by_length", repaired)
    found = gpu.working(setting, "toy")
    for way in ("compiled", "not compiled"):
        assert next(found)[:3] == (f"toy, {way}", FAILED, "no such kernel")
    with pytest.raises(StopIteration):
        next(found)


def endless(_: object) -> Iterator[tuple[object, ...]]:
    yield ("begun",)
    time.sleep(600)


@pytest.mark.parametrize("seconds", [-1, 0.2])
def test_a_section_is_not_left_running(seconds: float) -> None:
    before = multiprocessing.active_children()
    assert list(run(endless, None, seconds))[-1][:3] == ("endless", FAILED, "out of time")
    assert set(multiprocessing.active_children()) <= set(before)


def test_without_data_only_what_needs_none_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: object) -> Iterator[tuple[object, ...]]:
        raise UserError("no space")
        yield

    def with_data(_: object) -> Iterator[tuple[object, ...]]:
        yield "with_data", "run all the same"

    def without_data(_: object) -> Iterator[tuple[object, ...]]:
        yield "without_data", "run"

    monkeypatch.setattr(gpu, "make_data", failing)
    monkeypatch.setattr(gpu, "SECTIONS", dict.fromkeys((failing, with_data, without_data), 60))
    monkeypatch.setattr(gpu, "WITHOUT_DATA", {failing, without_data})
    options = ["gpu.py", "--device", "cpu", "--out", str(tmp_path / "gpu.md")]
    monkeypatch.setattr(sys, "argv", options)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    rows = [line.split(" | ") for line in (tmp_path / "gpu.md").read_text().splitlines()[2:]]
    assert [row[1:3] for row in rows] == [
        [FAILED, "no space"],
        [FAILED, "no data were made"],
        ["run |"],
    ]


def test_a_training_that_ends_before_the_kill_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = SimpleNamespace(join=lambda: None, kill=lambda: None, is_alive=lambda: False, exitcode=0)
    monkeypatch.setattr(gpu, "start", lambda *_: done)
    setting = gpu.Setting(tmp_path, argparse.Namespace(device="cpu", tiny=True, threads=1))
    [row] = gpu.killed(setting)
    assert row[2] == "ended before the kill"
    assert len(row) == len(gpu.COLUMNS)
    done.exitcode = 1
    with pytest.raises(RuntimeError, match="exit status 1"):
        list(gpu.killed(setting))


def test_each_precision_computes_products_in_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def losses(_: object, machine: Machine, max_len: int, steps: int) -> list[float]:
        found.append((machine.precision, torch.get_float32_matmul_precision()))
        return [0.0] * steps

    monkeypatch.setattr(gpu.Setting, "losses", losses)
    setting = gpu.Setting(tmp_path, argparse.Namespace(device="cuda", tiny=True, threads=1))
    with pretended_gpu():
        list(gpu.precisions(setting))
    assert found == [(torch.bfloat16, "high"), (torch.float32, "highest")]


def test_cards_are_known_by_the_names_that_their_drivers_give() -> None:
    names = {
        "Tesla T4": 65,
        "NVIDIA A10": 125,
        "NVIDIA A10G": 70,
        "NVIDIA A100-SXM4-80GB": 312,
        "NVIDIA H100 80GB HBM3": 989,
        "NVIDIA H100 PCIe": 756,
        "NVIDIA L4": 121,
        "NVIDIA GeForce RTX 4090": 165,
        "NVIDIA GeForce GTX 1080": None,
    }
    assert {name: peak_of(name) for name in names} == names
