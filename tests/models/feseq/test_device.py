"""What a run uses of the machine: its precision; compiled layers, which are the same network."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from support.networks import CONFIG, make_batch, make_model
from support.trainings import TRAIN
from tossctr.config.declared import Runtime
from tossctr.models.feseq.network import device as runtime
from tossctr.models.feseq.network.device import Machine, start_runtime
from tossctr.models.feseq.network_file import placed
from tossctr.models.feseq.training_step import Stepper


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch finds a CUDA device, which nothing may compute on."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    # A build for CUDA would ask the driver.
    monkeypatch.setattr(runtime, "has_triton", lambda: False)
    products = torch.get_float32_matmul_precision()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision(products)


@pytest.mark.usefixtures("gpu")
def test_float32_is_exact_on_a_gpu_also_after_a_run_in_half_precision() -> None:
    for precision, products in (("bfloat16", "high"), ("float32", "highest")):
        start_runtime(Runtime(device="cuda", precision=precision), threads=1)
        assert torch.get_float32_matmul_precision() == products


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("lacking", [None, "Triton", "gcc", "Python.h"])
def test_layers_are_compiled_where_that_is_possible(
    lacking: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / ("other.h" if lacking == "Python.h" else "Python.h")).touch()
    monkeypatch.setattr(runtime, "get_path", lambda name: str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(runtime, "which", lambda name: name if lacking != "gcc" else None)
    monkeypatch.setattr(runtime, "has_triton", lambda: lacking != "Triton")
    runtime_of_gpu = Runtime(device="cuda", precision="bfloat16")
    assert start_runtime(runtime_of_gpu, 1).compile == (lacking is None)
    assert [record.levelname for record in caplog.records] == (["WARNING"] if lacking else [])
    assert not start_runtime(Runtime(device="cpu"), 1).compile


# Two epochs with rows of other lengths.
EPOCHS = [[[3, 0, 6, 1], [5, 5, 5], [6] * 4], [[1, 2], [2, 4, 4, 1, 0, 6], [5, 0, 1, 2, 4]]]


@pytest.mark.workflow
def test_compiled_layers_train_alike_and_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is compiled runs as it is: no compiler is at work here, but the tracer that calls one.
    tracer = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=tracer))
    torch._dynamo.reset()
    config = replace(CONFIG, dropout=0.0, fm_term=3, mlp_cross_rank=2)
    steppers = []
    for compiles in (False, True):
        machine = Machine(torch.device("cpu"), compile=compiles)
        model = placed(make_model(config).train(), machine)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        steppers.append(Stepper(model, optimizer, machine, TRAIN))
    plain, compiled = steppers
    compilations = []
    for epoch in EPOCHS:
        for seed, lengths in enumerate(epoch):
            batch = make_batch(lengths, seed=seed)
            for stepper in steppers:
                stepper.take(batch)
            assert compiled.mean_loss() == pytest.approx(plain.mean_loss(), abs=1e-9)
            with torch.inference_mode():
                logit_B = compiled.model.eval()(batch)
            torch.testing.assert_close(logit_B, plain.model(batch), rtol=0, atol=1e-9)
            compiled.model.train()
        compilations.append(tracer.frame_count)
    assert compilations[0] == compilations[1] > 0
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
