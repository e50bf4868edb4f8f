"""What can be known of a GPU without one: precision, compiled layers, where tensors are, memory."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from support.networks import (
    CONFIG,
    SIZES,
    WHOLE,
    make_batch,
    make_model,
    random_model,
    short_of_memory,
    single,
)
from support.trainings import CPU, STILL, TRAIN
from tossctr.common.errors import UserError
from tossctr.config.declared import Runtime
from tossctr.features.feature_map import FeatureMap
from tossctr.models.feseq.network import FESeq
from tossctr.models.feseq.network import device as runtime
from tossctr.models.feseq.network.device import Machine, set_up_machine
from tossctr.models.feseq.network.pooling import POOLINGS
from tossctr.models.feseq.network_file import to_machine
from tossctr.models.feseq.training_step import Stepper, make_optimizer

# It stands for a GPU: its tensors have shapes, but no values.
META = torch.device("meta")


def test_float32_is_exact_on_a_gpu_and_layers_are_compiled_where_there_is_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PyTorch finds a CUDA device, which nothing may compute on.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda _: None)
    products: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", products.append)
    (tmp_path / "Python.h").touch()
    monkeypatch.delenv("CC", raising=False)
    for precision in ("bfloat16", "float32"):
        for lacking in (None, "Triton", "gcc", "Python.h"):
            monkeypatch.setattr(runtime, "has_triton", lambda lacking=lacking: lacking != "Triton")
            monkeypatch.setattr(runtime, "which", {"gcc": None if lacking == "gcc" else "gcc"}.get)
            folder = tmp_path / ("none" if lacking == "Python.h" else "")
            monkeypatch.setattr(runtime, "get_path", lambda name, folder=folder: str(folder))
            machine = set_up_machine(Runtime(device="cuda", precision=precision), threads=1)
            assert machine.compile == (lacking is None)
    assert products == ["high"] * 4 + ["highest"] * 4
    assert not set_up_machine(Runtime(device="cpu"), threads=1).compile


# Two epochs with rows of other lengths.
EPOCHS = [[[3, 0, 6, 1], [5, 5, 5]], [[2, 4, 4, 1, 0, 6], [6] * 4]]


@pytest.mark.workflow
def test_compiled_layers_train_alike_and_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is compiled runs as it is: no compiler is at work here, but the tracer that calls one.
    tracer = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=tracer))
    torch._dynamo.reset()
    config = replace(CONFIG, dropout=0.0, transformer_layers=1, mlp=(8,), mlp_cross_rank=2)
    steppers = []
    for machine in (CPU, replace(CPU, compile=True)):
        model = to_machine(make_model(config).train(), machine)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        steppers.append(Stepper(model, optimizer, machine, TRAIN))
    plain, compiled = steppers
    compilations = []
    for epoch in EPOCHS:
        for lengths in epoch:
            batch = make_batch(lengths)
            for stepper in steppers:
                stepper.take_step(batch)
            assert compiled.mean_loss() == pytest.approx(plain.mean_loss(), abs=1e-9)
            with torch.inference_mode():
                logit_B = compiled.model.eval()(batch)
            torch.testing.assert_close(logit_B, plain.model(batch), rtol=0, atol=1e-9)
            compiled.model.train()
        compilations.append(tracer.frame_count)
    assert compilations[0] == compilations[1] > 0
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, but for copies and single values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves([args, kwargs]) if isinstance(leaf, torch.Tensor)]
        is_copy = func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        assert is_copy or len({tensor.device for tensor in tensors if tensor.dim()}) < 2, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("pooling", "interaction"), [*zip(POOLINGS, cycle(["autoint", "crossnetv2"]))]
)
def test_a_step_on_a_gpu_takes_no_tensor_of_the_host(
    pooling: str, interaction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # unknown to meta
    config = replace(WHOLE, pooling=pooling, interaction=interaction, times=True)
    sizes = replace(SIZES, missing=1, context=(5,), shared=(False,))
    model = FESeq(config, sizes).to(META)
    optimizer = make_optimizer(model, TRAIN)
    for group in optimizer.param_groups:
        group["fused"] = False  # unknown to meta
    stepper = Stepper(model, optimizer, Machine(META), TRAIN, micro_rows=3)
    with OneDevice():
        stepper.take_step(single(make_batch([3, 0, 6, 8], sizes)))
    gradients = [parameter.grad for parameter in model.parameters()]
    assert {gradient.device for gradient in gradients if gradient is not None} == {META}


def test_what_does_not_fit_is_predicted_and_evaluated_in_halves(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = FeatureMap.read(data / "feature_map.json")
    config = replace(STILL, interaction="autoint", pooling="weighted_sum")
    model = random_model(config, fields, simulated=True)
    expected = model.predict(data / "valid.h5")
    short_of_memory(monkeypatch, 40)
    np.testing.assert_allclose(model.predict(data / "valid.h5"), expected, rtol=1e-4, atol=1e-5)
    short_of_memory(monkeypatch, 0)
    with pytest.raises(UserError, match="too small to predict a single row"):
        model.predict(data / "valid.h5")
