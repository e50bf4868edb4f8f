"""What Ctrl-C and `kill -INT` do to Snakemake. It runs in Snakemake's process."""

import atexit
import signal
import sys
from contextlib import suppress
from types import FrameType

import psutil


def interrupt_jobs() -> None:
    """Make SIGINT end the scripts of this Snakemake, which would wait for them otherwise.

    They get SIGTERM and end by themselves. Ctrl-C reaches them, too; only the first signal counts.
    """

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler)
        # The last line, below Snakemake's messages about its jobs.
        atexit.register(sys.stderr.write, "Interrupted: the same command goes on from here.\n")
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                # A shell would end without waiting for the script in it.
                if process.name() not in ("bash", "sh"):
                    process.terminate()
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
