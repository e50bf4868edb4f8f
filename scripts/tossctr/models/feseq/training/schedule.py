"""The learning rate of each step, and when a training is evaluated."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

# A cut divides the rate by 10; cuts and decay leave at least a thousandth of it.
CUT, FLOOR = 0.1, 1e-3
# An epoch of more steps is worth evaluations within it.
LONG_EPOCH_STEPS = 2_000
EVALUATIONS_OF_A_LONG_EPOCH = 4


@dataclass
class LearningRate:
    """The learning rate by step.

    `plateau`: it stays at `start`, and falls to a tenth after each step in `cuts`.
    `cosine`: it falls until `steps`, as half a cosine.
    """

    start: float
    steps: int
    schedule: str = "plateau"
    cuts: list[int] = field(default_factory=list)

    def at(self, step: float) -> float:
        """The rate of a step; steps count from 1."""
        floor = self.start * FLOOR
        if self.schedule == "plateau":
            rate = self.start
            for cut in self.cuts:
                rate = max(rate * CUT, floor) if cut < step else rate
            return rate
        left = max(0, self.steps - step) / self.steps
        return floor + (self.start - floor) * (1 - math.cos(math.pi * left)) / 2


def evaluated_batches(per_epoch: int | str, batches: int) -> set[int]:
    """The batches of an epoch, from 1 to `batches`, after which a training is evaluated.

    `per_epoch` "auto": the last one; in a long epoch, others that only look for the best weights.
    """
    if isinstance(per_epoch, str):
        per_epoch = EVALUATIONS_OF_A_LONG_EPOCH if batches > LONG_EPOCH_STEPS else 1
    return {-(-batches * i // per_epoch) for i in range(1, per_epoch + 1)}


def are_gains(monitors: Iterable[float]) -> list[bool]:
    """For each value in turn, whether it exceeds all before it."""
    monitors = list(monitors)
    best = accumulate([-math.inf, *monitors], max)
    return [monitor > before for monitor, before in zip(monitors, best)]
