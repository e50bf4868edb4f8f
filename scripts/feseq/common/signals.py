"""Signals that ask a process to end: SIGTERM, which Slurm sends, and SIGINT, which is Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn


def exit_on_sigterm() -> None:
    """Let SIGTERM raise SystemExit, so that half-written files are removed.

    Only once, and not after Ctrl-C: while files are closed, a scheduler may send more, and so does
    a Snakemake that Ctrl-C ends (`interrupt_jobs`).
    """

    def end(kind: int, _: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if kind == signal.SIGINT:
            signal.signal(kind, signal.default_int_handler)
            raise KeyboardInterrupt
        raise SystemExit(128 + kind)

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


@contextmanager
def signals_at_once() -> Iterator[None]:
    """Within, SIGTERM and Ctrl-C end the process; Python hears of no signal while C++ waits."""
    handlers = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}
    for kind, handler in handlers.items():
        if handler != signal.SIG_IGN:
            signal.signal(kind, signal.SIG_DFL)
    try:
        yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)


class Signals:
    """While open, SIGTERM or a first Ctrl-C is kept in `asked`; at the end it is raised again.

    A second Ctrl-C ends the process at once. A signal that is ignored stays so.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        # Python sets handlers only in its main thread.
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGTERM, signal.SIGINT):
                handler = signal.getsignal(kind)
                if handler != signal.SIG_IGN:
                    self._before[kind] = handler
                    signal.signal(kind, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        self._put_back()
        if self.asked:
            self.end_as_asked(self.asked)

    def end_as_asked(self, kind: int) -> NoReturn:
        """Raise what such a signal raises outside."""
        self._put_back()
        self.asked = 0
        # Python's own for SIGTERM, which would close nothing, is no function.
        if callable(signal.getsignal(kind)):
            signal.raise_signal(kind)
        raise SystemExit(128 + kind)

    def _put_back(self) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)
        self._before = {}

    def _hold(self, kind: int, _: FrameType | None) -> None:
        self.asked = self.asked or kind
        if kind == signal.SIGINT:
            signal.signal(kind, self._before[kind])
