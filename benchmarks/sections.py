"""Parts of a benchmark, each in a process of its own: a failure or a hang ends one part alone."""

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from feseq.common.errors import UserError, first_line
from feseq.common.memory import keep_freed_memory

# A section takes one argument, and yields the cells of its rows.
Row = tuple[object, ...]
Section = Callable[[Any], Iterator[Row]]
FAILED = "FAILED"


def start(work: Callable[..., None], *arguments: Any) -> Any:
    """A process that has all imports already, and CUDA not yet: a fork could not use it."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def run(section: Section, argument: object, seconds: float) -> Iterator[Row]:
    """The rows of a section as they come; where it fails or takes longer, the last says so."""
    late = section.__name__, FAILED, "out of time", "", "", ""
    if seconds <= 0:
        yield late
        return
    limit = time.monotonic() + seconds
    mine, its = multiprocessing.Pipe(duplex=False)
    process = start(_report, section, argument, its)
    # Here too: the group must be there when it is killed, however late the process begins.
    with suppress(ProcessLookupError):
        os.setpgid(process.pid, process.pid)
    its.close()
    try:
        while mine.poll(max(0.0, limit - time.monotonic())):
            yield mine.recv()
        yield late
    except EOFError:
        process.join()
        if process.exitcode not in (0, 1):
            yield section.__name__, FAILED, f"exit status {process.exitcode}", "", "", ""
    finally:
        if process.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()


def _report(section: Section, argument: object, rows: Connection) -> None:
    """The life of the process."""
    os.setpgrp()
    keep_freed_memory()
    try:
        for row in section(argument):
            rows.send(row)
    except BaseException as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        rows.send((section.__name__, FAILED, first_line(error), "", "", type(error).__name__))
        raise SystemExit(1) from None
