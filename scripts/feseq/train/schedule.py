"""The learning rate of each step, when a training is evaluated, and the replay of another's."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..common.files import read_json

# A cut divides the rate by 10; cuts and decay leave at least a thousandth of it.
CUT, FLOOR = 0.1, 1e-3
# An epoch of more steps is worth evaluations within it.
LONG_EPOCH_STEPS = 2_000
EVALUATIONS_OF_A_LONG_EPOCH = 4


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


def evaluated_batches(per_epoch: int | str, batches: int) -> set[int]:
    """The batches of an epoch, from 1 to `batches`, after which a training is evaluated.

    `per_epoch` "auto": the last one; in a long epoch, others that only look for the best weights.
    """
    if isinstance(per_epoch, str):
        per_epoch = EVALUATIONS_OF_A_LONG_EPOCH if batches > LONG_EPOCH_STEPS else 1
    return {-(-batches * part // per_epoch) for part in range(1, per_epoch + 1)}


def are_gains(monitors: Iterable[float]) -> list[bool]:
    """For each value in turn, whether it exceeds all before it."""
    monitors = list(monitors)
    best = accumulate([-math.inf, *monitors], max)
    return [monitor > before for monitor, before in zip(monitors, best)]


@dataclass(frozen=True)
class Replay:
    """The steps and learning rates of another run, up to its best weights, on more rows.

    `best_step` led to that run's best weights, which reached these `metrics`; `scale` is the
    number of steps here for one there.
    """

    best_step: int
    learning_rate: LearningRate
    scale: float
    metrics: Mapping[str, float]

    @classmethod
    def read(cls, training_json: Path, steps_per_epoch: int) -> "Replay":
        """From the other run's training.json; epochs here have `steps_per_epoch` steps."""
        return read_json(training_json, lambda content: cls._of(content, steps_per_epoch))

    @classmethod
    def _of(cls, content: Mapping[str, Any], steps_per_epoch: int) -> "Replay":
        steps_there = -(-content["rows_per_epoch"] // content["batch_rows"])
        return cls(
            content["best_step"],
            LearningRate(**content["learning_rate"]),
            steps_per_epoch / steps_there,
            {name: content[f"valid_{name}"] for name in ("auc", "logloss", "monitor")},
        )

    @property
    def steps(self) -> int:
        """How many steps to train: as many epochs as led to the best weights."""
        return max(1, round(self.scale * self.best_step))

    def at(self, step: int) -> float:
        """The learning rate of a step; steps count from 1."""
        return self.learning_rate.at(min(step / self.scale, self.best_step))
