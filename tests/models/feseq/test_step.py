"""Steps of a training: loss, micro-batches, faults; the optimizer, learning rates, monitors."""

from dataclasses import replace

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from support.networks import CONFIG, make_batch, make_model, short_of_memory, single
from support.trainings import CPU, TRAIN
from tossctr.common.errors import UserError
from tossctr.models.feseq.network.device import Machine
from tossctr.models.feseq.training_loop import evaluated_batches
from tossctr.models.feseq.training_step import (
    MIN_RATE,
    Stepper,
    TableAdam,
    embedding_parameters,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)

STILL = replace(CONFIG, dropout=0.0)
RATE, STEPS = 0.01, 50


def make_stepper(micro_rows: int = 99, **options: float) -> Stepper:
    model = make_model(STILL).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    return Stepper(model, optimizer, CPU, replace(TRAIN, **options), micro_rows=micro_rows)


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_micro_batches_train_like_the_whole_batch() -> None:
    whole, cut = (make_stepper(rows, embedding_l2=0.01) for rows in (99, 3))
    for seed in range(5):
        batch = make_batch([3, 0, 9, 1, 31, 2, 4, 4], seed=seed)
        whole.take_step(batch)
        cut.take_step(batch)
    assert cut.mean_loss() == pytest.approx(whole.mean_loss(), abs=1e-9)
    torch.testing.assert_close(weights(cut.model), weights(whole.model), rtol=0, atol=1e-9)


def test_gradients_in_bfloat16_are_nearly_those_in_float32() -> None:
    batch, flat = single(make_batch([row % 7 for row in range(64)])), []
    for precision in (torch.float32, torch.bfloat16):
        model = make_model(STILL).float().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        Stepper(model, optimizer, Machine(torch.device("cpu"), precision), TRAIN).take_step(batch)
        gradients = (parameter.grad for parameter in model.parameters())
        flat.append(torch.cat([each.flatten() for each in gradients if each is not None]))
    full, half = flat
    assert not torch.equal(half, full)
    assert torch.cosine_similarity(full, half, dim=0) > 0.99
    assert half.norm().item() == pytest.approx(full.norm().item(), rel=0.1)


def test_a_step_equals_adam_on_the_mean_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tossctr.models.feseq.training_step.MAX_GRAD_NORM", 0.5)
    batch, stepper = make_batch([3, 0, 6, 1]), make_stepper(embedding_l2=0.01)
    model = make_model(STILL)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    probability = model(batch).sigmoid()
    chosen = torch.where(batch.label_B == 1, probability, 1 - probability)
    loss = -chosen.log().mean()
    penalty = 0.01 * sum(table.square().sum() for table in embedding_parameters(model))
    (loss + penalty).backward()
    norm = sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None).sqrt()
    assert norm > 0.5
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad *= 0.5 / norm
    optimizer.step()
    stepper.take_step(batch)
    assert stepper.mean_loss() == pytest.approx(loss.item())
    torch.testing.assert_close(weights(stepper.model), weights(model), rtol=0, atol=1e-6)


def test_a_loss_that_is_not_finite_names_step_and_rate() -> None:
    stepper, batches = make_stepper(), [make_batch([3, 1], seed=seed) for seed in range(5)]
    batches[3].numbers["minmax"][1, 0] = float("inf")
    for batch in batches:
        stepper.take_step(batch)
    with pytest.raises(UserError, match=r"at step 4 \(learning rate 0.01\)"):
        stepper.mean_loss()


def test_out_of_gpu_memory_halves_the_micro_batch_and_repeats_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch([3, 0, 6, 1, 5, 2, 4])
    uninterrupted, short = make_stepper(), make_stepper()
    uninterrupted.take_step(batch)
    short_of_memory(monkeypatch, 2)
    short.take_step(batch)
    assert short.micro_rows == 2
    torch.testing.assert_close(
        weights(short.model), weights(uninterrupted.model), rtol=0, atol=1e-9
    )
    short_of_memory(monkeypatch, 0)
    with pytest.raises(UserError, match="too small to train on a single row"):
        short.take_step(batch)


@pytest.mark.parametrize("second_moment", ["weight", "table"])
def test_embeddings_learn_at_their_own_rate_and_only_weights_decay(second_moment: str) -> None:
    config = replace(TRAIN, embedding_rate_factor=0.5, weight_decay=0.4)
    config = replace(config, embedding_second_moment=second_moment)
    model = make_model(replace(CONFIG, pooling="weighted_sum", dropout=0.0)).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, config)
    set_learning_rate(optimizer, RATE)
    model(make_batch([3, 0, 6, 1])).square().sum().backward()
    optimizer.step()
    kinds = set()
    for name, parameter in model.named_parameters():
        rate, decay = RATE, 0.0
        if name.startswith(("profile.", "history.", "position.", "inputs.", "item.tables.")):
            rate = RATE / 2
        elif not (name.endswith("bias") or "norm" in name or parameter.dim() == 1):
            decay = 0.4
        kinds.add((rate, decay))
        assert parameter.grad is not None, name
        by_table = (rate, second_moment) == (RATE / 2, "table")
        size = parameter.grad.abs()
        if by_table:  # the mean over the codes of the batch
            size = parameter.grad[size.any(dim=1)].square().mean().sqrt()
        step = parameter.grad / (size + 1e-8)
        expected = before[name] * (1 - rate * decay) - rate * step
        # A table counts its steps in float32.
        exact = 1e-6 if by_table else 1e-9
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=exact, msg=name)
    assert len(kinds) == 3


def test_a_table_of_one_weight_learns_as_by_adamw() -> None:
    ours, plain = torch.nn.Parameter(torch.tensor([[0.3]])), torch.nn.Parameter(torch.tensor(0.3))
    one = TableAdam([{"params": [ours], "by_table": True}], lr=RATE, weight_decay=0.2)
    other = torch.optim.AdamW([plain], lr=RATE, weight_decay=0.2)
    for gradient in torch.randn(20, generator=torch.Generator().manual_seed(1)):
        ours.grad, plain.grad = gradient.view(1, 1), gradient
        one.step()
        other.step()
    torch.testing.assert_close(ours.view(()), plain)


def test_codes_that_never_occur_change_no_step() -> None:
    gradient = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    learned = []
    for unused in (0, 1_000):
        table = torch.nn.Parameter(torch.ones(3 + unused, 4))
        optimizer = TableAdam([{"params": [table], "by_table": True}], lr=RATE)
        for _ in range(3):
            table.grad = torch.cat([gradient, torch.zeros(unused, 4)])
            optimizer.step()
        learned.append(table.detach()[:3])
    torch.testing.assert_close(*learned)
    assert (learned[0] != 1).all()


def test_an_overflow_moves_no_weight_and_no_moment() -> None:
    model = make_model().float()
    optimizer = make_optimizer(model, replace(TRAIN, embedding_second_moment="table"))
    before = weights(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.zeros(()))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    embedding_parameters(model)[0].grad.view(-1)[0] = float("inf")
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    scaler.step(optimizer)
    torch.testing.assert_close(weights(model), before, rtol=0, atol=0)
    # And the next step is the first.
    fresh = make_model().float()
    first = make_optimizer(fresh, replace(TRAIN, embedding_second_moment="table"))
    vars(optimizer).pop("found_inf", None)
    for each, steps in ((model, optimizer), (fresh, first)):
        for parameter in each.parameters():
            parameter.grad = torch.ones_like(parameter)
        steps.step()
    torch.testing.assert_close(weights(model), weights(fresh), rtol=0, atol=0)
    for old, new in zip(before, model.parameters()):
        assert (old != new).all()


def test_the_automatic_rate_is_higher_for_many_rows_and_if_neither_label_is_rare() -> None:
    auto = replace(TRAIN, learning_rate="auto")
    low, high, rare_negatives = (auto.peak_learning_rate(1_000, rate) for rate in (0.02, 0.5, 0.9))
    assert low == rare_negatives < auto.peak_learning_rate(1_000_000, 0.02) < high
    assert replace(TRAIN, learning_rate=RATE).peak_learning_rate(1_000, 0.5) == RATE


def test_the_rate_falls_like_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
    scheduler = CosineAnnealingLR(optimizer, T_max=STEPS, eta_min=MIN_RATE * RATE)
    for step in range(1, STEPS + 1):
        optimizer.step()
        scheduler.step()
        rate = learning_rate(RATE, "cosine", step, STEPS)
        assert rate == pytest.approx(scheduler.get_last_lr()[0], 1e-9)


def test_cuts_leave_a_tenth_each_and_a_thousandth_in_all() -> None:
    assert learning_rate(RATE, "plateau", STEPS, STEPS) == RATE
    rates = [learning_rate(RATE, "plateau", step, STEPS, [3, 4, 6, 8]) for step in range(1, 11)]
    assert rates == pytest.approx([1e-2] * 3 + [1e-3] + [1e-4] * 2 + [1e-5] * 4)


@pytest.mark.parametrize(
    ("batches", "per_epoch", "expected"), [(10, 4, [3, 5, 8, 10]), (3, 9, [1, 2, 3])]
)
def test_evaluations_divide_an_epoch(batches: int, per_epoch: int, expected: list[int]) -> None:
    assert sorted(evaluated_batches(per_epoch, batches)) == expected
