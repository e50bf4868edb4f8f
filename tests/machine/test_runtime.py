"""What a run uses of the machine."""

from collections.abc import Iterator

import pytest
import torch

from feseq.config.runtime import Runtime
from feseq.machine import runtime
from feseq.machine.runtime import start_runtime


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that says it has one."""
    monkeypatch.setattr(runtime, "choose_device", lambda name, _: torch.device(name))
    monkeypatch.setattr(runtime, "use_threads", lambda threads: None)
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("a_gpu")
def test_float32_is_exact_on_a_gpu_also_after_a_run_in_half_precision() -> None:
    start_runtime(Runtime(device="cuda", precision="bfloat16"), threads=1)
    assert torch.get_float32_matmul_precision() == "high"
    start_runtime(Runtime(device="cuda", precision="float32"), threads=1)
    assert torch.get_float32_matmul_precision() == "highest"
