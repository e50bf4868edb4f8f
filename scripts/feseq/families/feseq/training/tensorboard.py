"""The curves of a training as event files of TensorBoard."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....common.errors import UserError
from .loop import Trainer

logger = logging.getLogger(__name__)

# Curve -> column of history.csv.
_CURVES = {
    "loss/train": "train_loss",
    "loss/validation": "logloss",
    "validation/auc": "auc",
    "validation/monitor": "monitor",
    "training/learning_rate": "learning_rate",
}


@contextmanager
def curves(folder: Path) -> Iterator[Callable[[Trainer], None]]:
    """Write the last evaluation's points to event files in `folder`; warn on a full disk.

    A resumed training adds to the files that are there; points after the evaluation that it
    resumes from are removed. Raises UserError if the package tensorboard is missing.
    """
    try:
        # Imported here: it takes a second, and most trainings do not need it.
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "runtime.tensorboard is true, and the Python package tensorboard is missing; "
            "install it (pip install -r envs/requirements.txt), or set the key to false"
        ) from None
    writer: Any = None

    def add(trainer: Trainer) -> None:
        nonlocal writer
        *_, before, last = [None, *trainer.history]
        step, seconds = (before.step, before.seconds) if before else (0, 0.0)
        points = {curve: getattr(last, column) for curve, column in _CURVES.items()}
        rows = (last.step - step) * trainer.train.rows_per_epoch / trainer.per_epoch
        points["training/samples_per_second"] = rows / max(last.seconds - seconds, 0.01)
        try:
            # A training from the start removes all points of the previous one.
            writer = writer or SummaryWriter(str(folder), purge_step=step + 1 if before else 0)
            for curve, value in points.items():
                writer.add_scalar(curve, value, last.step)
            writer.flush()
        except OSError as error:
            logger.warning("the curves for TensorBoard could not be written: %s", error)

    try:
        yield add
    finally:
        if writer is not None:
            writer.close()
