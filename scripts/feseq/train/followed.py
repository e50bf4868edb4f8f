"""The way of an earlier training to its best weights, which a training on more rows follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common.files import read_json
from .learning_rate import LearningRate


@dataclass(frozen=True)
class Followed:
    """Steps and learning rates up to the best weights, stretched to epochs of more steps.

    `path` has the earlier training's steps, first and last of each range, `stretch` is the number
    of steps that follow one of these, and `figures` are what the best weights reached.
    """

    path: list[list[int]]
    learning_rate: LearningRate
    stretch: float
    figures: Mapping[str, float]

    @classmethod
    def read(cls, training_json: Path, steps_per_epoch: int) -> "Followed":
        """From the training.json of the earlier training; epochs have `steps_per_epoch` steps."""
        about = read_json(training_json, lambda content: {**content, **content["learning_rate"]})
        before = -(-about["rows_per_epoch"] // about["batch_rows"])
        return cls(
            about["best_path"],
            LearningRate(**about["learning_rate"]),
            steps_per_epoch / before,
            {name: about[f"valid_{name}"] for name in ("auc", "logloss", "monitor")},
        )

    @property
    def steps(self) -> int:
        """How many steps the training on more rows has: as many epochs as lead to the best."""
        return max(1, round(self.stretch * sum(last - first + 1 for first, last in self.path)))

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first is 1."""
        place = step / self.stretch
        for first, last in self.path:
            if place <= last - first + 1:
                break
            place -= last - first + 1
        else:
            first, last = self.path[-1]
            place = last - first + 1
        return self.learning_rate.at(first - 1 + place)
