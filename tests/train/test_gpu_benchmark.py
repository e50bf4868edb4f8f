"""The benchmark of a GPU, where one is pretended: it must not fail on a rented machine."""

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest

from feseq.machine.runtime import Machine
from support import REPOSITORY
from support.pretended_gpu import pretended_gpu

sys.path.append(str(REPOSITORY / "benchmarks"))
import gpu
from cards import peak_of
from sections import FAILED


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
    assert gpu.CPU_NEEDS not in {cell for row in rows for cell in row}


def test_a_way_that_fails_is_said_and_the_next_one_is_measured(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no such kernel")

    def mended(machine: Machine) -> Machine:
        monkeypatch.undo()
        return machine

    setting = gpu.Setting(data, argparse.Namespace(device="cpu", tiny=True, threads=1))
    monkeypatch.setattr(gpu.attention, "by_length", failing)
    monkeypatch.setattr(gpu, "by_length", mended)
    found = gpu.working(setting, "toy")
    for way in ("compiled", "not compiled"):
        assert next(found)[:3] == (f"toy, {way}", FAILED, "no such kernel")
    with pytest.raises(StopIteration):
        next(found)


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
