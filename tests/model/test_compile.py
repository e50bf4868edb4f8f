"""Compiled layers: the same network, and no compilation beyond the first batches."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from feseq.model.build import placed
from feseq.model.device import Machine
from feseq.train.step import Stepper
from support.networks import CONFIG, make_batch, make_model

# Two epochs with rows of other lengths.
EPOCHS = [[[3, 0, 6, 1], [5, 5, 5], [6] * 4], [[1, 2], [2, 4, 4, 1, 0, 6], [5, 0, 1, 2, 4]]]


@pytest.mark.workflow
def test_compiled_layers_train_alike_and_are_compiled_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is compiled runs as it is: no compiler is at work here, but the tracer that calls one.
    tracer = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=tracer))
    torch._dynamo.reset()
    config = replace(CONFIG, dropout=0.0, crossing=3, mlp_cross_rank=2)
    steppers = []
    for compiles in (False, True):
        machine = Machine(torch.device("cpu"), compile=compiles)
        model = placed(make_model(config).train(), machine)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        steppers.append(Stepper(model, optimizer, machine))
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
