"""The fast network and the plain one of the benchmark are the same function."""

import sys
from dataclasses import replace

import pytest
import torch

from support import REPOSITORY
from support.networks import CONFIG, SIZES, make_batch, make_model

sys.path.append(str(REPOSITORY / "benchmarks"))
from plain import PlainFESeq


@pytest.mark.parametrize("causal", [False, True])
def test_logits_gradients_and_twenty_steps_equal_the_plain_network(causal: bool) -> None:
    config = replace(CONFIG, causal=causal, dropout=0.0)
    fast = make_model(config).train()
    plain = PlainFESeq(config, SIZES).double().train()
    plain.take_weights(fast)
    losses = []
    for model in (fast, plain):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        curve = []
        for step in range(20):
            batch = make_batch([3, 0, 6, 1, 6], seed=step)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch.label_B)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        losses.append(curve)
    assert losses[0] == pytest.approx(losses[1], abs=1e-9)
    assert losses[0][-1] != pytest.approx(losses[0][0], rel=0.05)
