"""The learning rate of each step."""

import math
from dataclasses import dataclass, field

from torch.optim import Optimizer

from ..config.train import TrainConfig

CUT = 0.1


@dataclass
class LearningRate:
    """The learning rate by step, a schedule that another training can follow.

    It rises in a line over `warmup_steps`. Then it stays at `start` but for the `cuts`, after each
    of which a tenth is left, or falls until `steps`, as half a cosine or in a line. `floor` is the
    least that is left of it.
    """

    start: float
    steps: int
    schedule: str = "plateau"
    warmup_steps: int = 0
    floor: float = 0.0
    cuts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, config: TrainConfig, steps: int) -> "LearningRate":
        """The schedule of a training of `steps` steps."""
        return cls(
            start=config.learning_rate,
            steps=steps,
            schedule=config.schedule,
            warmup_steps=round(config.warmup * steps),
            floor=config.learning_rate * config.learning_rate_floor,
        )

    def at(self, step: float) -> float:
        """The rate of a step; the first is 1."""
        rate = self._decayed(step)
        for cut in self.cuts:
            rate = max(rate * CUT, self.floor) if cut < step else rate
        return rate * min(1, step / self.warmup_steps) if self.warmup_steps else rate

    def _decayed(self, step: float) -> float:
        if self.schedule == "plateau" or step <= self.warmup_steps:
            return self.start
        left = max(0, self.steps - step) / (self.steps - self.warmup_steps)
        if self.schedule == "cosine":
            left = (1 - math.cos(math.pi * left)) / 2
        return self.floor + (self.start - self.floor) * left


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Let the next step have this rate; each group's `rate_factor` multiplies it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]
