"""The benchmark of a GPU, where one is pretended: it must not fail on a rented machine."""

import sys
from pathlib import Path
from typing import Any

import pytest

from support import REPOSITORY
from support.pretended_gpu import pretended_gpu

sys.path.append(str(REPOSITORY / "benchmarks"))
import gpu


@pytest.mark.workflow
@pytest.mark.parametrize("section", ["card", "speed_toy", "waits", "memory", "small_cards"])
def test_a_section_runs(data: Path, monkeypatch: pytest.MonkeyPatch, section: str) -> None:
    monkeypatch.setattr(gpu, "matmul_peak", lambda *_: 50.0)
    work: Any = gpu.SECTIONS[section][0]
    with pretended_gpu(memory=80 << 30):
        rows = list(work(gpu.Setting(data, "cuda", tiny=True, threads=1)))
    assert rows
    assert all(len(row) == gpu.HEAD.splitlines()[0].count("|") - 1 for row in rows)
    assert gpu.NEEDS_GPU not in {cell for row in rows for cell in row}
