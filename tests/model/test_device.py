"""What a run uses of the machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from feseq.config.runtime import Runtime
from feseq.model import device as runtime
from feseq.model.device import start_runtime


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that says it has one."""
    monkeypatch.setattr(runtime, "choose_device", lambda name, _: torch.device(name))
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("a_gpu")
def test_float32_is_exact_on_a_gpu_also_after_a_run_in_half_precision() -> None:
    start_runtime(Runtime(device="cuda", precision="bfloat16"), threads=1)
    assert torch.get_float32_matmul_precision() == "high"
    start_runtime(Runtime(device="cuda", precision="float32"), threads=1)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.usefixtures("a_gpu")
@pytest.mark.parametrize(
    ("has_triton", "compiler", "header", "missing"),
    [
        (True, "gcc", "Python.h", None),
        (False, "gcc", "Python.h", "Triton"),
        (True, None, "Python.h", "C compiler"),
        (True, "gcc", "other.h", r"Python\.h"),
    ],
)
def test_layers_are_compiled_where_that_is_possible(
    has_triton: bool,
    compiler: str | None,
    header: str,
    missing: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / header).touch()
    monkeypatch.setattr(runtime, "get_path", lambda name: str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(runtime, "has_triton", lambda: has_triton)
    monkeypatch.setattr(runtime, "which", lambda name: compiler if name == compiler else None)
    single = {"device": "cuda", "precision": "float32"}
    assert start_runtime(Runtime(**single), 1).compile == (missing is None)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (missing is not None)
    assert not start_runtime(Runtime(device="cpu"), 1).compile
