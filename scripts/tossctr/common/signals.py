"""Handling of the signals that end a process: SIGTERM (from Slurm) and SIGINT (Ctrl-C)."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn


def exit_on_sigterm() -> None:
    """Make SIGTERM raise SystemExit, so that `finally` blocks remove incomplete files.

    After the first SIGTERM or Ctrl-C, further SIGTERMs, which schedulers and Snakemake send, are
    ignored, so that they do not interrupt this clean-up.
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
def default_signal_handlers() -> Iterator[None]:
    """A context in which SIGTERM and Ctrl-C kill the process at once, even in long C++ calls."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, handler in handlers.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class DeferredSignals:
    """A context that holds back the first SIGTERM or Ctrl-C, and raises it on exit.

    The signal's number is in `received`, which is 0 without a signal. A second Ctrl-C ends the
    process at once. A signal that was ignored before the context stays ignored.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "DeferredSignals":
        # Python sets handlers only in its main thread.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                handler = signal.getsignal(number)
                if handler != signal.SIG_IGN:
                    self._before[number] = handler
                    signal.signal(number, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        if self.received:
            self.raise_signal(self.received)

    def raise_signal(self, number: int) -> NoReturn:
        """Restore the handlers from before the context, and raise the signal `number`.

        Raises SystemExit if there was no Python handler for the signal.
        """
        self._restore()
        self.received = 0
        # Python's default for SIGTERM is not callable, and would not close files.
        if callable(signal.getsignal(number)):
            signal.raise_signal(number)
        raise SystemExit(128 + number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _hold(self, number: int, _: FrameType | None) -> None:
        self.received = self.received or number
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
