"""The curves of a training as event files of TensorBoard."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..common.files import Closing
from .loop import Evaluation, Trainer

logger = logging.getLogger(__name__)

# Curve -> column of history.csv.
_CURVES = {
    "loss/train": "train_loss",
    "loss/validation": "logloss",
    "validation/auc": "auc",
    "validation/monitor": "monitor",
    "training/learning_rate": "learning_rate",
}


class Curves(Closing):
    """Writes the points of each evaluation, by step, to event files in `folder`.

    A resumed training adds to the files that are there; points after the evaluation that it
    resumes from are removed. Raises UserError where the package tensorboard is missing.
    """

    def __init__(self, folder: Path, rows_per_step: float) -> None:
        try:
            # Here, since it takes a second and most trainings do without.
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "runtime.tensorboard is true, and the Python package tensorboard is missing; "
                "install it (pip install -r envs/requirements.txt), or set the key to false"
            ) from None
        self.folder = folder
        self.rows_per_step = rows_per_step
        self._make_writer = SummaryWriter
        self._writer: Any = None

    def add(self, trainer: Trainer) -> None:
        """Write the points of the last evaluation; on a full disk only warn."""
        try:
            self._add(trainer.history)
        except OSError as error:
            logger.warning("the curves for TensorBoard could not be written: %s", error)

    def _add(self, history: list[Evaluation]) -> None:
        evaluation = history[-1]
        before = history[-2] if len(history) > 1 else None
        steps = evaluation.step - (before.step if before else 0)
        seconds = evaluation.seconds - (before.seconds if before else 0)
        if self._writer is None:
            # A training from the start removes all points of the previous one.
            first = before.step + 1 if before else 0
            self._writer = self._make_writer(str(self.folder), purge_step=first)
        values = asdict(evaluation)
        points = {curve: values[column] for curve, column in _CURVES.items()}
        points["training/samples_per_second"] = steps * self.rows_per_step / max(seconds, 0.01)
        for curve, value in points.items():
            self._writer.add_scalar(curve, value, evaluation.step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
