"""Training steps: the loss, micro-batches that change nothing, faults that name their rows."""

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch

from feseq.common.errors import UserError
from feseq.config.model import ModelConfig
from feseq.dataset.batch import Batch
from feseq.model import FESeq
from feseq.model.device import Machine
from feseq.train import step
from feseq.train.step import Stepper
from support.networks import CONFIG, make_batch, make_model, single

CPU = Machine(torch.device("cpu"))
STILL = replace(CONFIG, dropout=0.0)


def make_stepper(
    config: ModelConfig = STILL,
    **options: float,
) -> Stepper:
    model = make_model(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Stepper(model, optimizer, CPU, **options)  # type: ignore[arg-type]


def weights(model: FESeq) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("micro_rows", [1, 3, 8])
def test_micro_batches_train_like_the_whole_batch(micro_rows: int) -> None:
    batches = [make_batch([3, 0, 9, 1, 31, 2, 4, 4], seed=seed) for seed in range(5)]
    whole = make_stepper(embedding_l2=0.01)
    cut = make_stepper(embedding_l2=0.01, micro_rows=micro_rows)
    for batch in batches:
        whole.take(batch)
        cut.take(batch)
    assert cut.mean_loss() == pytest.approx(whole.mean_loss(), abs=1e-9)
    for one, other in zip(weights(cut.model), weights(whole.model)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_a_step_equals_adam_on_the_mean_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "MAX_GRAD_NORM", 0.5)
    batch, stepper = make_batch([3, 0, 6, 1]), make_stepper()
    model = make_model(STILL)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    probability = model(batch).sigmoid()
    chosen = torch.where(batch.label_B == 1, probability, 1 - probability)
    (-chosen.log().mean()).backward()
    norm = sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None).sqrt()
    assert norm > 0.5
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad *= 0.5 / norm
    optimizer.step()
    stepper.take(batch)
    for one, other in zip(weights(stepper.model), weights(model)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_loss_that_is_not_finite_names_step_rate_and_rows() -> None:
    stepper = make_stepper()
    for seed in range(3):
        stepper.take(make_batch([3, 1], seed=seed))
    batch = make_batch([2, 5])
    batch.numbers["minmax"][1, 0] = float("inf")
    stepper.take(replace(batch, row_B=torch.tensor([7012, 7100])))
    stepper.take(make_batch([1, 1]))
    with pytest.raises(UserError, match=r"at step 4 \(learning rate 0.01, rows 7,012 to 7,100"):
        stepper.mean_loss()


def test_out_of_gpu_memory_halves_the_micro_batch_and_repeats_the_step(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch = make_batch([3, 0, 6, 1, 5, 2, 4])
    undisturbed, short_of_memory = make_stepper(), make_stepper()
    undisturbed.take(batch)
    forward: Callable[[FESeq, Batch], torch.Tensor] = FESeq.forward

    def forward_of_few(self: FESeq, part: Batch) -> torch.Tensor:
        if len(part) > 2:
            raise torch.cuda.OutOfMemoryError
        return forward(self, part)

    monkeypatch.setattr(FESeq, "forward", forward_of_few)
    short_of_memory.take(batch)
    assert short_of_memory.micro_rows == 2
    assert "micro-batches of 4 rows" in caplog.text
    assert "micro-batches of 2 rows" in caplog.text
    for one, other in zip(weights(short_of_memory.model), weights(undisturbed.model)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    monkeypatch.setattr(FESeq, "forward", Mock(side_effect=torch.cuda.OutOfMemoryError))
    with pytest.raises(UserError, match="does not hold the training of a single row"):
        short_of_memory.take(batch)


def test_what_a_gpu_cannot_repeat_exactly_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forward: Callable[[FESeq, Batch], torch.Tensor] = FESeq.forward

    def forward_with_an_odd_one(self: FESeq, part: Batch) -> torch.Tensor:
        if not torch.is_deterministic_algorithms_warn_only_enabled():
            raise RuntimeError("odd_cuda does not have a deterministic implementation, but you set")
        return forward(self, part)

    monkeypatch.setattr(FESeq, "forward", forward_with_an_odd_one)
    stepper = make_stepper()
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            stepper.take(make_batch([3, 0]))
    finally:
        torch.use_deterministic_algorithms(False)
    (message,) = caplog.messages
    assert "odd_cuda does not have a deterministic implementation" in message
    monkeypatch.setattr(FESeq, "forward", lambda *_: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        stepper.take(make_batch([3, 0]))


def test_a_step_in_bfloat16_goes_where_one_in_float32_goes() -> None:
    batch = single(make_batch([row % 7 for row in range(64)]))

    def gradient(precision: torch.dtype) -> torch.Tensor:
        model = make_model(STILL).float().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        Stepper(model, optimizer, Machine(torch.device("cpu"), precision)).take(batch)
        found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return torch.cat(found)

    full, half = gradient(torch.float32), gradient(torch.bfloat16)
    assert not torch.equal(half, full)
    # Rounding to 8 bits turns it by a few degrees at most.
    assert torch.cosine_similarity(full, half, dim=0) > 0.99
    assert half.norm().item() == pytest.approx(full.norm().item(), rel=0.1)
