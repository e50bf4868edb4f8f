"""Signals that ask a process to end: SIGTERM, which Slurm sends, and SIGINT, which is Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn


def exit_on_sigterm() -> None:
    """Let SIGTERM raise SystemExit, so that half-written files are removed.

    A second SIGTERM, or one after Ctrl-C, is ignored: while files are closed, a scheduler may send
    more, and so does a Snakemake that Ctrl-C ends (`interrupt_jobs`).
    """

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


@contextmanager
def signals_at_once() -> Iterator[None]:
    """A block in which SIGTERM and Ctrl-C kill the process: while C++ waits, no handler runs."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, handler in handlers.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Signals:
    """While open, SIGTERM or a first Ctrl-C is kept in `asked`; at the end it is raised again.

    A second Ctrl-C ends the process at once. An ignored signal stays ignored.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        # Python sets handlers only in its main thread.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                handler = signal.getsignal(number)
                if handler != signal.SIG_IGN:
                    self._before[number] = handler
                    signal.signal(number, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        self._put_back()
        if self.asked:
            self.end_as_asked(self.asked)

    def end_as_asked(self, number: int) -> NoReturn:
        """Raise what this signal raises when no `Signals` is open."""
        self._put_back()
        self.asked = 0
        # Python's default for SIGTERM is not a function, and would end without closing files.
        if callable(signal.getsignal(number)):
            signal.raise_signal(number)
        raise SystemExit(128 + number)

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _hold(self, number: int, _: FrameType | None) -> None:
        self.asked = self.asked or number
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
