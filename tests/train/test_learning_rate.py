"""Schedules against PyTorch's own, and the optimizer's groups against AdamW's formula."""

from dataclasses import replace

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler

from feseq.train.learning_rate import LearningRate, set_learning_rate
from feseq.train.optimizer import make_optimizer
from support.networks import CONFIG, make_batch, make_model
from support.trainings import TRAIN

START, STEPS = 0.01, 50


def rates_of(kind: type[LRScheduler], count: int, **options: float) -> list[float]:
    """The first `count` rates of a scheduler of PyTorch."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=START)
    scheduler = kind(optimizer, **options)
    rates = []
    for _ in range(count):
        rates += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_rises_and_falls_like_pytorchs(schedule: str) -> None:
    config = replace(
        TRAIN, learning_rate=START, schedule=schedule, warmup=0.2, learning_rate_floor=0.05
    )
    found = [LearningRate.of(config, STEPS).at(step) for step in range(1, STEPS + 1)]
    floor = 0.05 * START
    rising = rates_of(LinearLR, 10, start_factor=0.1, total_iters=9)
    # The first of the falling rates is the last of the rising ones.
    falling = {
        "cosine": rates_of(CosineAnnealingLR, 41, T_max=40, eta_min=floor),
        "linear": rates_of(LinearLR, 41, start_factor=1, end_factor=0.05, total_iters=40),
    }
    assert found == pytest.approx(rising + falling[schedule][1:], rel=1e-9)


def test_cuts_leave_a_tenth_each_and_stop_at_the_floor() -> None:
    rate = LearningRate(START, STEPS, floor=2e-5, cuts=[3, 4, 6, 8])
    assert [rate.at(step) for step in range(1, 11)] == pytest.approx(
        [1e-2] * 3 + [1e-3] + [1e-4] * 2 + [2e-5] * 4
    )


def test_without_cuts_or_warmup_the_rate_stays() -> None:
    rate = LearningRate.of(TRAIN, STEPS)
    assert {rate.at(step) for step in range(1, STEPS + 1)} == {TRAIN.learning_rate}


def test_embeddings_learn_and_decay_apart_and_biases_and_norms_do_not_decay() -> None:
    config = replace(TRAIN, embedding_rate_factor=0.5, weight_decay=0.4, embedding_weight_decay=0.1)
    model = make_model(replace(CONFIG, pooling="weighted_sum", dropout=0.0)).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, config)
    set_learning_rate(optimizer, START)
    model(make_batch([3, 0, 6, 1])).square().sum().backward()
    optimizer.step()
    kinds = set()
    for name, parameter in model.named_parameters():
        if name.startswith(("profile.", "history.", "position.", "front.", "item.tables.")):
            kind, rate, decay = "embedding", START / 2, 0.1
        elif name.endswith("bias") or "norm" in name or parameter.dim() == 1:
            kind, rate, decay = "plain", START, 0.0
        else:
            kind, rate, decay = "weight", START, 0.4
        kinds.add(kind)
        assert parameter.grad is not None, name
        step = parameter.grad / (parameter.grad.abs() + 1e-8)
        expected = before[name] * (1 - rate * decay) - rate * step
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-9, msg=name)
    assert kinds == {"embedding", "plain", "weight"}


def test_the_default_optimizer_is_adam() -> None:
    ours, plain = make_model().train(), make_model().train()
    optimizer = make_optimizer(ours, TRAIN)
    reference = torch.optim.Adam(plain.parameters(), lr=TRAIN.learning_rate, fused=True)
    for seed in range(5):
        for model, each in ((ours, optimizer), (plain, reference)):
            torch.manual_seed(seed)
            each.zero_grad()
            model(make_batch([3, 0, 6, 1], seed=seed)).square().sum().backward()
            each.step()
    for one, other in zip(ours.parameters(), plain.parameters()):
        assert torch.equal(one, other)
