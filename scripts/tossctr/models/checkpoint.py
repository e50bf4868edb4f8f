"""The saved state of a training, from which an interrupted training resumes."""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..common import tensors
from .base import training_state
from .job import TrainJob

logger = logging.getLogger(__name__)

FORMAT = "tossctr-training 7"
SECONDS_BETWEEN_SAVES = 600


class Checkpoint:
    """The saved state of a training, in the folder `training_state` beside the model file.

    A saved state is ignored if settings, data or code have changed. The folder stays after the
    training, since Snakemake may still fail the job and remove the model file.
    """

    def __init__(self, job: TrainJob) -> None:
        self.key = f"{FORMAT} {_key(job)}"
        self.file = training_state(job.model) / "state.safetensors"
        self._saved_at = time.monotonic()

    def load(self, convert: Callable[[np.ndarray], Any] = np.asarray) -> dict[str, Any] | None:
        """The saved state, with `convert` applied to each array; None if no state is usable."""
        try:
            content = tensors.load(self.file, convert)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("training from the start: cannot read %s (%s)", self.file, error)
            return None
        if content.get("key") == self.key:
            return content["state"]
        logger.warning("training from the start: %s has other settings, data or code", self.file)
        return None

    def save(self, state: dict[str, Any]) -> bool:
        """Save a state. If the disk is full, keep the previous state, warn, and return False."""
        self._saved_at = time.monotonic()
        try:
            tensors.save({"key": self.key, "state": state}, self.file)
        except OSError as error:
            logger.warning("the training goes on, but its state cannot be saved: %s", error)
            return False
        return True

    def is_due(self) -> bool:
        """True if the last save is more than SECONDS_BETWEEN_SAVES ago."""
        return time.monotonic() - self._saved_at > SECONDS_BETWEEN_SAVES


def _key(job: TrainJob) -> str:
    """A digest of everything that a training depends on."""
    # The number of GPUs changes only rounding, dropout and the batch norms of `din`.
    settings = {block: {**keys, "gpus": 1} for block, keys in job.settings.items()}
    # The feature map identifies the rows.
    feature_map = hashlib.sha256(job.feature_map.read_bytes()).hexdigest()
    values = [settings, feature_map, job.first_training(), job.code]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
