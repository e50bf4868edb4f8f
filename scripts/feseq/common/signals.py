"""Signals that ask a process to end: kept until a step is done, taken once, never lost."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

# What a signal raises, and the signal that raises it again.
_RAISED = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}


class Signals:
    """While open, SIGTERM (Slurm) or a first SIGINT (Ctrl-C) is kept in `asked`; then it is taken.

    A second Ctrl-C ends the process at once. A second SIGTERM does not: a scheduler sends one to
    every process, and a launcher in between may send another. One that is ignored stays so.
    """

    _KINDS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        # Python sets handlers only in its main thread.
        if threading.current_thread() is threading.main_thread():
            for kind in self._KINDS:
                handler = signal.getsignal(kind)
                if handler != signal.SIG_IGN:
                    self._before[kind] = handler
                    signal.signal(kind, self._take_note)
        return self

    def __exit__(self, *_: object) -> None:
        self._put_back()
        # Only now: one that comes later is not kept.
        if self.asked:
            self.end_as_asked(self.asked)

    def end_as_asked(self, kind: int) -> NoReturn:
        """Raise what such a signal raises by the handler from before, which is back in place."""
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

    def _take_note(self, kind: int, _: FrameType | None) -> None:
        self.asked = kind
        if kind == signal.SIGINT:
            signal.signal(kind, self._before[kind])


@contextmanager
def undisturbed() -> Iterator[None]:
    """A signal that comes within is taken at the end."""
    with Signals():
        yield


class Ending:
    """A handler of SIGTERM that raises SystemExit with the status that shells give it; once.

    Further ones do not disturb what is then closed. In a finalizer, such as that of a generator
    which nobody reads on, Python can only print what is raised, and goes on: such an exception is
    raised again, that of Ctrl-C included.
    """

    def __init__(self) -> None:
        self._ends = False
        self._usual = sys.unraisablehook
        sys.unraisablehook = self._lost
        signal.signal(signal.SIGTERM, self)

    def __call__(self, kind: int, _: FrameType | None = None) -> None:
        if not self._ends:
            self._ends = True
            raise SystemExit(128 + kind)

    def _lost(self, lost: "sys.UnraisableHookArgs") -> None:
        kind = _RAISED.get(lost.exc_type)
        # Nothing can be begun while Python shuts down.
        if kind is None or not threading.main_thread().is_alive():
            self._usual(lost)
        else:
            threading.Timer(0.1, self._again, [kind]).start()

    def _again(self, kind: signal.Signals) -> None:
        self._ends = False
        os.kill(os.getpid(), kind)
