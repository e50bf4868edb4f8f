"""The checkpoint of an interrupted training: its state on disk."""

import logging
import time
from pathlib import Path
from typing import Any

import torch

from ....common import tensors

logger = logging.getLogger(__name__)

FORMAT = "feseq-training 5"
# In addition, a state is saved before each evaluation.
SECONDS_BETWEEN_SAVES = 600


class Checkpoint:
    """The state of one training, in its own folder beside the model's file.

    `key` is a digest of all that the state depends on: settings, data and code. A state with
    another key is ignored. The caller removes the folder once the model is safe: a job whose
    process succeeds can still fail, and lose its files.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.key = f"{FORMAT} {key}"
        self.file = folder / "state.safetensors"
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state to resume from; None if there is none, or, with a warning, no fitting one."""
        try:
            content = tensors.load(self.file, torch.from_numpy)
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
        """True if the last state is older than it should be."""
        return time.monotonic() - self._saved_at > SECONDS_BETWEEN_SAVES
