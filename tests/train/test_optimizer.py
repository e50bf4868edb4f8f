"""The optimizer's groups against AdamW's formula."""

from dataclasses import replace

import pytest
import torch

from feseq.train.optimizer import (
    TableAdam,
    embedding_parameters,
    make_optimizer,
    set_learning_rate,
)
from support.networks import CONFIG, make_batch, make_model
from support.trainings import TRAIN

START = 0.01


@pytest.mark.parametrize("second_moment", ["weight", "table"])
def test_embeddings_learn_at_their_own_rate_and_only_weights_decay(
    second_moment: str,
) -> None:
    config = replace(TRAIN, embedding_rate_factor=0.5, weight_decay=0.4)
    config = replace(config, embedding_second_moment=second_moment)
    model = make_model(replace(CONFIG, pooling="weighted_sum", dropout=0.0)).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, config)
    set_learning_rate(optimizer, START)
    model(make_batch([3, 0, 6, 1])).square().sum().backward()
    optimizer.step()
    kinds = set()
    for name, parameter in model.named_parameters():
        if name.startswith(("profile.", "history.", "position.", "inputs.", "item.tables.")):
            kind, rate, decay = "embedding", START / 2, 0.0
        elif name.endswith("bias") or "norm" in name or parameter.dim() == 1:
            kind, rate, decay = "plain", START, 0.0
        else:
            kind, rate, decay = "weight", START, 0.4
        kinds.add(kind)
        assert parameter.grad is not None, name
        by_table = (kind, second_moment) == ("embedding", "table")
        size = parameter.grad.square().mean().sqrt() if by_table else parameter.grad.abs()
        step = parameter.grad / (size + 1e-8)
        expected = before[name] * (1 - rate * decay) - rate * step
        # A table counts its steps in float32.
        exact = 1e-6 if by_table else 1e-9
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=exact, msg=name)
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


def test_a_table_of_one_weight_learns_as_by_adamw() -> None:
    ours, plain = torch.nn.Parameter(torch.tensor([[0.3]])), torch.nn.Parameter(torch.tensor(0.3))
    one = TableAdam([{"params": [ours], "by_table": True}], lr=START, weight_decay=0.2)
    other = torch.optim.AdamW([plain], lr=START, weight_decay=0.2)
    random = torch.Generator().manual_seed(1)
    for _ in range(20):
        gradient = torch.randn((), generator=random)
        ours.grad, plain.grad = gradient.view(1, 1), gradient
        one.step()
        other.step()
    torch.testing.assert_close(ours.view(()), plain)


def test_a_tables_codes_move_as_far_as_their_gradients_say() -> None:
    table = torch.nn.Parameter(torch.zeros(5, 4))
    optimizer = TableAdam([{"params": [table], "by_table": True}], lr=START, weight_decay=0)
    size = torch.tensor([50.0, 1, 1, 7, 0])[:, None]
    gradients = torch.randn((30, 1, 4), generator=torch.Generator().manual_seed(1)) * size
    for number, gradient in enumerate(gradients):
        table.grad = gradient
        optimizer.step()
        if number == 0:
            # Adam's first step: the rate, for the table as a whole.
            assert table.square().mean().sqrt().item() == pytest.approx(START, rel=1e-5)
    moved = table.detach()
    torch.testing.assert_close(moved, moved[1:2] * size)
    assert moved[1].all()


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("is_table", [True, False])
def test_an_overflow_anywhere_moves_no_weight(bad: float, is_table: bool) -> None:
    model = make_model().float()
    optimizer = make_optimizer(model, replace(TRAIN, embedding_second_moment="table"))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    hit = embedding_parameters(model)[0] if is_table else next(model.mlp.parameters())
    assert hit.grad is not None
    hit.grad.view(-1)[0] = bad
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.zeros(()))
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    scaler.step(optimizer)
    for old, new in zip(before, model.parameters()):
        assert torch.equal(old, new)
    # And the next step moves all.
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for old, new in zip(before, model.parameters()):
        assert (old != new).all()
