"""The learning rate of each step."""

import math
from dataclasses import dataclass, field

from torch.optim import Optimizer

# A cut divides the rate by 10; cuts and decay leave at least a thousandth of it.
CUT, FLOOR = 0.1, 1e-3


@dataclass
class LearningRate:
    """The learning rate by step, a schedule that another training can replay.

    `plateau`: it stays at `start`, and falls to a tenth after each step in `cuts`.
    `cosine`, `linear`: it falls until `steps`, as half a cosine or in a line.
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
        if self.schedule == "cosine":
            left = (1 - math.cos(math.pi * left)) / 2
        return floor + (self.start - floor) * left


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Let the next step have this rate; each group's `rate_factor` multiplies it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]
