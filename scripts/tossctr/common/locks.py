"""Locks on folders of saved state, which a second process must not use."""

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError

logger = logging.getLogger(__name__)

# What a file system that has no locks answers, such as Lustre mounted without `flock`.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def locked(folder: Path, does: str) -> Iterator[None]:
    """Keep other processes out of a folder of saved state; raises UserError if one is in it.

    `does` says for the message what such a process does. The lock ends with its process. Where the
    file system has no locks, a warning says so, and nothing keeps another process out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner, job = folder / "owner", os.environ.get("SLURM_JOB_ID")
    with open(folder / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = owner.read_text() if owner.exists() else "another process"
            raise UserError(
                f"{folder}: {who} {does}; wait until it ends, or, if its snakemake is gone, stop "
                f"it with `kill`, a Slurm job with `scancel`, and run the same command again"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logger.warning(
                "%s: the file system has no locks (%s), so nothing keeps a second process out: run "
                "one Snakemake at a time here",
                folder,
                error.strerror,
            )
        process = f"process {os.getpid()} on {socket.gethostname()}"
        owner.write_text(f"{process}, Slurm job {job}" if job else process)
        yield
