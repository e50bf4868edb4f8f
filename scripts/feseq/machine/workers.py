"""Several processes at one piece of work: their log lines come here; if one fails, all end."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

from ..common.errors import UserError
from .memory import keep_freed_memory

# For workers that are asked to end: a step of a training, and then to save its state.
_SECONDS_TO_SAVE = 2 * 60 * 60
# Once one is lost, for which the others may wait in vain.
_SECONDS_TO_END = 20
# How a worker ends that did its work, or was asked to end.
_ENDS = (0, -signal.SIGTERM, 128 + signal.SIGTERM, 128 + signal.SIGINT)


def run_workers(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call `work(index, *arguments)` in `count` fresh processes; return when all have.

    `work` is a function of a module. Raises what a worker raised, and UserError where one was
    ended from outside; the others are ended first, as they all are when this process is. Ended by
    SIGTERM, that is, which lets them save what they have; their last words are passed on.
    """
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, SpawnProcess] = {}
    # Ctrl-C reaches the whole process group. A worker takes it once it can say so in one line.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    patience = _SECONDS_TO_SAVE
    try:
        for index in range(count):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_enter, args=(theirs, index, work, arguments), daemon=True
            )
            process.start()
            workers[ours] = process
            theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _attend(workers)
    except Exception:
        patience = _SECONDS_TO_END
        raise
    finally:
        # No further signal may end this process before them.
        kinds = (signal.SIGINT, signal.SIGTERM)
        handlers = [signal.signal(kind, signal.SIG_IGN) for kind in kinds]
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for process in workers.values():
            process.terminate()
        _hear_out(workers, patience)
        for process in workers.values():
            process.kill()
            process.join()
        for kind, handler in zip(kinds, handlers):
            signal.signal(kind, handler)


def _attend(workers: dict[Connection, SpawnProcess]) -> None:
    """Pass on what the workers say, until all have ended well; raise if one did not."""
    running = dict(workers)
    while running:
        for connection in wait(list(running)):
            assert isinstance(connection, Connection)
            try:
                said = connection.recv()
            except (EOFError, OSError):
                # The end of a process closes its side.
                _check_end(running.pop(connection))
                continue
            if isinstance(said, BaseException):
                raise said
            logging.getLogger(said.name).handle(said)


def _hear_out(workers: dict[Connection, SpawnProcess], patience: float) -> None:
    """Pass on what the workers still log, until all have ended, or for `patience` seconds."""
    running = dict(workers)
    last = time.monotonic() + patience
    while running and (seconds := last - time.monotonic()) > 0:
        for connection in wait(list(running), seconds):
            assert isinstance(connection, Connection)
            try:
                said = connection.recv()
            except (EOFError, OSError):
                process = running.pop(connection)
                process.join()
                is_lost = process.exitcode not in _ENDS
            else:
                is_lost = isinstance(said, BaseException)
                if isinstance(said, logging.LogRecord):
                    logging.getLogger(said.name).handle(said)
            if is_lost:
                last = min(last, time.monotonic() + _SECONDS_TO_END)


def _check_end(process: SpawnProcess) -> None:
    process.join()
    code = process.exitcode or 0
    if code == 0:
        return
    # Ended by a signal, or by itself after one.
    number = -code if code < 0 else code - 128
    known = number in set(signal.Signals)
    how = signal.Signals(number).name if known else f"status {code}"
    hint = ", perhaps for lack of memory" if how == "SIGKILL" else ""
    raise UserError(
        f"a worker (process {process.pid}) was ended by {how}{hint}; the others are ended too, and "
        f"the same command goes on from there"
    )


def _enter(
    messages: Any, index: int, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """The life of a worker."""
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        signal.signal(signal.SIGTERM, _exit)
        keep_freed_memory()
        logging.raiseExceptions = False
        logging.root.handlers = [_Sender(messages)]
        logging.root.setLevel(logging.INFO)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work(index, *arguments)
    except KeyboardInterrupt:
        _exit(signal.SIGINT, None)
    except (UserError, OSError) as error:
        messages.send(error)
    except Exception:
        messages.send(RuntimeError(f"in a worker:\n{traceback.format_exc()}"))


def _exit(kind: int, _: FrameType | None) -> None:
    """End as the shell says it of a signal, with what is open closed; once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + kind)


def _end_with_parent() -> None:
    """Without it, a worker of a killed process would go on unseen."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Sender(QueueHandler):
    """Sends log records through a connection."""

    queue: Any

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.send(record)


@contextmanager
def only_errors(quiet: bool = True) -> Iterator[None]:
    """Of the library's log lines let only errors pass: several workers would say the same."""
    package = logging.getLogger(__package__)
    before = package.level
    if quiet:
        package.setLevel(logging.ERROR)
    try:
        yield
    finally:
        package.setLevel(before)
