"""What can be known of a GPU without one: tensors are where they must be, halves are the whole."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from support.networks import SIZES, WHOLE, make_batch, random_model, short_of_memory, single
from support.trainings import STILL, TRAIN
from tossctr.common.errors import UserError
from tossctr.features.feature_map import FeatureMap
from tossctr.models.feseq.network import FESeq
from tossctr.models.feseq.network.device import Machine
from tossctr.models.feseq.network.pooling import POOLINGS
from tossctr.models.feseq.training_step import Stepper, make_optimizer

# It stands for a GPU: its tensors have shapes, but no values.
META = torch.device("meta")


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, but for copies and single values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves([args, kwargs]) if isinstance(leaf, torch.Tensor)]
        is_copy = func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        assert is_copy or len({tensor.device for tensor in tensors if tensor.dim()}) < 2, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("interaction", ["autoint", "crossnetv2"])
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
        stepper.take(single(make_batch([3, 0, 6, 8], sizes)))
    gradients = [parameter.grad for parameter in model.parameters()]
    assert {gradient.device for gradient in gradients if gradient is not None} == {META}


def test_what_does_not_fit_is_predicted_and_evaluated_in_halves(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fields = FeatureMap.read(data / "feature_map.json")
    config = replace(STILL, interaction="autoint", pooling="weighted_sum")
    model = random_model(config, fields, simulated=True)
    expected = model.predict(data / "valid.h5")
    short_of_memory(monkeypatch, 40)
    results = model.predict(data / "valid.h5")
    assert caplog.text.count("out of GPU memory: predicting 50 rows in two halves") == 2
    np.testing.assert_allclose(results, expected, rtol=1e-4, atol=1e-5)
    short_of_memory(monkeypatch, 0)
    with pytest.raises(UserError, match="does not hold the prediction of a single row"):
        model.predict(data / "valid.h5")
