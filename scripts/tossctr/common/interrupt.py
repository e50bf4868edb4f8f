"""Handling of Ctrl-C and `kill -INT` in Snakemake's process."""

import atexit
import signal
import sys
from contextlib import suppress
from types import FrameType

import psutil


def end_jobs_on_interrupt() -> None:
    """Make SIGINT (Ctrl-C) end the scripts that this Snakemake process runs.

    By default, Snakemake waits until the scripts have finished. Here, each script gets SIGTERM. A
    script that has received the Ctrl-C itself stops, and ignores the SIGTERM.
    """

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler)
        # Printed last, below Snakemake's messages about its jobs.
        atexit.register(sys.stderr.write, "Interrupted: run the same command to continue.\n")
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                # A shell that gets SIGTERM does not wait for its script.
                if process.name() not in ("bash", "sh"):
                    process.terminate()
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
