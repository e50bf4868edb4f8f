"""When a training is evaluated, and its learning rates against PyTorch's own."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from feseq.train.schedule import FLOOR, LearningRate, are_gains, evaluated_batches

START, STEPS = 0.01, 50


def test_the_rate_falls_like_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=START)
    scheduler = CosineAnnealingLR(optimizer, T_max=STEPS, eta_min=FLOOR * START)
    rate = LearningRate(START, STEPS, "cosine")
    for step in range(1, STEPS + 1):
        optimizer.step()
        scheduler.step()
        assert rate.at(step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)


def test_cuts_leave_a_tenth_each_and_a_thousandth_in_all() -> None:
    assert LearningRate(START, STEPS).at(STEPS) == START
    rate = LearningRate(START, STEPS, cuts=[3, 4, 6, 8])
    assert [rate.at(step) for step in range(1, 11)] == pytest.approx(
        [1e-2] * 3 + [1e-3] + [1e-4] * 2 + [1e-5] * 4
    )


@pytest.mark.parametrize(
    ("batches", "per_epoch", "expected"),
    [
        (10, "auto", [10]),
        (10, 1, [10]),
        (10, 4, [3, 5, 8, 10]),
        (3, 9, [1, 2, 3]),
        (2_000, "auto", [2_000]),
        (4_000, "auto", [1_000, 2_000, 3_000, 4_000]),
    ],
)
def test_evaluations_divide_an_epoch(
    batches: int, per_epoch: int | str, expected: list[int]
) -> None:
    assert sorted(evaluated_batches(per_epoch, batches)) == expected


def test_a_gain_exceeds_all_before() -> None:
    assert are_gains([0.5, 0.4, 0.6, 0.6, 0.7]) == [True, False, True, False, True]
