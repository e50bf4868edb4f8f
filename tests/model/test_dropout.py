"""The quick dropout of the CPU, and draws of unknown categories, against what they promise."""

from dataclasses import replace

import pytest
import torch

from feseq.dataset.batch import Batch
from feseq.dataset.feature_map import OUT_OF_VOCABULARY
from feseq.model.dropout import Dropout, UnknownDraws
from support.networks import SIZES, make_batch

N = 400_000


@pytest.mark.parametrize("probability", [0.001, 0.1, 0.5, 0.9])
def test_elements_are_dropped_as_often_as_asked_and_the_mean_stays(probability: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(4, N // 4, requires_grad=True)
    y = Dropout(probability).train()(x)
    dropped = (y == 0).double()
    deviation = (probability * (1 - probability) / N) ** 0.5
    assert abs(dropped.mean().item() - probability) < 5 * deviation + 1e-5
    kept = y[y != 0]
    assert kept.min() == kept.max()
    assert kept[0].item() == pytest.approx(1 / (1 - probability), rel=1e-3)
    # Each of the four numbers that share 64 random bits, and no memory from one to the next.
    for quarter in range(4):
        share = dropped.flatten()[quarter::4].mean().item()
        assert abs(share - probability) < 10 * deviation + 1e-5
    centred = dropped.flatten() - dropped.mean()
    for lag in (1, 2, 4, 1000):
        assert abs((centred[:-lag] * centred[lag:]).mean()) < 5 * deviation**2 * N**0.5
    y.backward(torch.full_like(y, 3.0))
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 3 * y.detach())


def test_masks_follow_the_seed_and_nothing_is_dropped_in_evaluation_or_at_probability_0() -> None:
    x, dropout = torch.randn(7, 13), Dropout(0.5).train()
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    for still in (dropout.eval(), Dropout(0.0).train()):
        assert torch.equal(still(x), x)
    # Near 1, values stay finite.
    assert Dropout(1 - 1e-9).train()(torch.ones(N)).isfinite().all()


@pytest.mark.parametrize("shares", [None, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]])
def test_each_column_s_categories_are_drawn_as_unknown_at_its_share_in_training_alone(
    shares: list[float] | None,
) -> None:
    batch = make_batch([0] * 5_000, replace(SIZES, context=(9, 3)))
    batch = replace(batch, context_BC=batch.context_BC * (torch.arange(5_000)[:, None] % 4 > 0))
    draws = UnknownDraws(0.2).train()
    if shares is not None:
        draws.take(shares)

    def columns(batch: Batch) -> torch.Tensor:
        return torch.cat([batch.profile_BP, batch.target_BG, batch.context_BC], dim=1)

    torch.manual_seed(3)
    before, after = columns(batch), columns(draws(batch))
    assert torch.equal(after[before == 0], before[before == 0])
    changed = after != before
    assert (after[changed] == OUT_OF_VOCABULARY).all()
    for column, share in enumerate(shares or [0.2] * before.shape[1]):
        found = changed[before[:, column] > OUT_OF_VOCABULARY, column].double().mean().item()
        assert found == pytest.approx(share, abs=0.03)
    torch.manual_seed(3)
    assert torch.equal(columns(draws(batch)), after)
    assert draws.eval()(batch) is batch
    assert UnknownDraws(0).train()(batch) is batch
