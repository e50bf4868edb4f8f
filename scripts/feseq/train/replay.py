"""Replays another run's steps and learning rates, up to its best weights, on more rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.files import read_json
from .learning_rate import LearningRate


@dataclass(frozen=True)
class Replay:
    """The steps and learning rates of another run, scaled to epochs of more steps.

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

    def rate(self, step: int) -> float:
        """The learning rate of a step; steps count from 1."""
        return self.learning_rate.at(min(step / self.scale, self.best_step))
