"""The checkpoint of an interrupted training: its state on disk, and a lock."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ....common import tensors
from ....common.errors import UserError

logger = logging.getLogger(__name__)

FORMAT = "feseq-training 4"
# In addition, a state is saved before each evaluation.
SECONDS_BETWEEN_SAVES = 600


class Checkpoint:
    """The state of one training, in its own folder beside the model's file.

    `key` is a digest of all that the state depends on: settings, data and code. A state with
    another key is ignored. The caller removes the folder once the model is safe: a job whose
    process succeeds can still fail, and lose its files.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.key = key
        self.file = folder / "state.safetensors"
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state to resume from; None if there is none, or, with a warning, no fitting one."""
        if not self.file.exists():
            return None
        try:
            content = tensors.load(self.file, torch.from_numpy)
            if content.get("format") != FORMAT:
                raise ValueError(f"its format is {content.get('format')!r}")
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read (%s): training from the start", self.file, error)
            return None
        if content["key"] == self.key:
            return content["state"]
        logger.warning(
            "%s belongs to other settings, data or code: training from the start", self.file
        )
        return None

    def save(self, state: dict[str, Any]) -> bool:
        """Replace the saved state; if that fails, as on a full disk, keep it and return False."""
        self._saved_at = time.monotonic()
        try:
            tensors.save({"format": FORMAT, "key": self.key, "state": state}, self.file)
        except OSError as error:
            logger.warning("the state of the training could not be saved: %s", error)
            return False
        return True

    def is_due(self) -> bool:
        """True if the last state is older than it should be."""
        return time.monotonic() - self._saved_at > SECONDS_BETWEEN_SAVES


@contextmanager
def locked(folder: Path, does: str) -> Iterator[None]:
    """Keep other processes out of a folder of saved state; raises UserError if one is in it.

    `does` says for the message what such a process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner, job = folder / "owner", os.environ.get("SLURM_JOB_ID")
    try:
        with FileLock(folder / "lock", timeout=0):
            process = f"process {os.getpid()} on {socket.gethostname()}"
            owner.write_text(f"{process}, Slurm job {job}" if job else process)
            yield
    except Timeout:
        who = owner.read_text() if owner.exists() else "another process"
        raise UserError(
            f"{folder}: {who} {does}; wait until it ends, or, if its snakemake is gone, stop it "
            f"with `kill`, a Slurm job with `scancel`: it saves its state, and the same command "
            f"goes on from there"
        ) from None
