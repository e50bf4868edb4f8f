"""The saved state of a training, from which an interrupted one goes on."""

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
    """The state of a job's training, in its own folder beside the model's file.

    A state with other settings, data or code is ignored. The caller removes the folder once the
    model is safe: a job whose process succeeds can still fail, and lose its files.
    """

    def __init__(self, job: TrainJob) -> None:
        self.key = f"{FORMAT} {_key(job)}"
        self.file = training_state(job.model) / "state.safetensors"
        self._saved_at = time.monotonic()

    def load(self, convert: Callable[[np.ndarray], Any] = np.asarray) -> dict[str, Any] | None:
        """The state to resume from, or None; warns about a state that cannot be used.

        Its tensors are what `convert` makes of arrays.
        """
        try:
            content = tensors.load(self.file, convert)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read (%s): training from the start", self.file, error)
            return None
        if content.get("key") == self.key:
            return content["state"]
        logger.warning(
            "%s belongs to other settings, data or code: training from the start", self.file
        )
        return None

    def save(self, state: dict[str, Any]) -> bool:
        """Replace the saved state; if that fails, as on a full disk, keep it and return False."""
        self._saved_at = time.monotonic()
        try:
            tensors.save({"key": self.key, "state": state}, self.file)
        except OSError as error:
            logger.warning("the state of the training could not be saved: %s", error)
            return False
        return True

    def is_due(self) -> bool:
        """True if it is time to save again."""
        return time.monotonic() - self._saved_at > SECONDS_BETWEEN_SAVES


def _key(job: TrainJob) -> str:
    """A digest of everything that a training depends on."""
    # The number of processes changes only rounding and draws of dropout.
    settings = {block: {**keys, "gpus": 1} for block, keys in job.settings.items()}
    # The feature map identifies the rows.
    feature_map = hashlib.sha256(job.feature_map.read_bytes()).hexdigest()
    values = [settings, feature_map, job.before(), job.code]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
