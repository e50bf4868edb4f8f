"""What Ctrl-C and `kill -INT` do to a Snakemake, in whose process alone this runs."""

import atexit
import signal
import sys
from contextlib import suppress
from types import FrameType

import psutil


def interrupt_jobs() -> None:
    """Let SIGINT end the scripts that this Snakemake runs, which it would wait for.

    They get SIGTERM, and end by themselves. Of Ctrl-C, which reaches them too, they take the first.
    """

    def end(kind: int, _: FrameType | None) -> None:
        signal.signal(kind, signal.default_int_handler)
        # The last line, below what Snakemake says of its jobs.
        atexit.register(sys.stderr.write, "Interrupted: the same command goes on from here.\n")
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                # A shell would end without waiting for the script in it.
                if process.name() not in ("bash", "sh"):
                    process.terminate()
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
