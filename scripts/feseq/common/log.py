"""The log of a job: one line an event, on stderr and in the job's file."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def log_to(files: Sequence[str]) -> None:
    """Send the log to stderr, and append it to `files`, which several processes may share."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[logging.StreamHandler(), *map(logging.FileHandler, files)],
        force=True,
    )
    # Where the disk is full, so that a line cannot be written to the file, stderr still has it.
    logging.raiseExceptions = False


def log_files() -> list[str]:
    """The files that this process appends its log to."""
    handlers = logging.getLogger().handlers
    return [h.baseFilename for h in handlers if isinstance(h, logging.FileHandler)]


@contextmanager
def only_errors(quiet: bool = True) -> Iterator[None]:
    """Let only errors of this library pass: several processes would log the same lines."""
    package = logging.getLogger(__package__.partition(".")[0])
    before = package.level
    if quiet:
        package.setLevel(logging.ERROR)
    try:
        yield
    finally:
        package.setLevel(before)
