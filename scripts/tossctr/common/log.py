"""The log of a job: one line an event, on stderr and in the job's file."""

import logging
from collections.abc import Sequence

_LINE = "%(asctime)s %(levelname)s %(message)s"


def log_to(files: Sequence[str], job: str = "") -> None:
    """Send the log to stderr, and append it to `files`, which several processes may share.

    On stderr, where other jobs write too, each line names the `job`.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(), *map(logging.FileHandler, files)]
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_LINE, "%H:%M:%S"))
    if job:
        named = _LINE.replace("%(message)s", f"[{job.replace('%', '%%')}] %(message)s")
        handlers[0].setFormatter(logging.Formatter(named, "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    # Where the disk is full, so that a line cannot be written to the file, stderr still has it.
    logging.raiseExceptions = False
