"""A signal ends a process once, wherever it comes, and prints nothing."""

import signal
import subprocess
import sys

import pytest

from support import SCRIPTS

BOTH = pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])

BEGINNING = """
import os, signal, sys, time
from feseq.common.signals import Ending, undisturbed

def ask():
    os.kill(os.getpid(), int(sys.argv[1]))

def read():
    try:
        yield
    finally:
        ask()

def drop_a_reader():
    reader = read()
    next(reader)
"""
WORKER = "Ending(signal.SIGTERM, signal.SIGINT)\n"
# As a script has it, in which Ctrl-C is an exception.
SCRIPT = "Ending(signal.SIGTERM)\n"
WAIT = """
try:
    time.sleep(300)
except KeyboardInterrupt:
    sys.exit(130)
"""


def run(kind: signal.Signals, *lines: str) -> tuple[int, str]:
    """The exit status of a program, which `ask()` sends a signal to, and what it prints."""
    command = [sys.executable, "-c", BEGINNING + "\n".join(lines), str(int(kind))]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@BOTH
@pytest.mark.parametrize("handler", [WORKER, SCRIPT])
def test_a_signal_in_a_finalizer_ends_the_process(kind: signal.Signals, handler: str) -> None:
    status, printed = run(kind, handler, "drop_a_reader()", WAIT)
    assert printed == ""
    # In a worker, what was lost comes again as SIGTERM.
    assert status == (143 if handler == WORKER else 128 + kind)


@BOTH
def test_python_by_itself_goes_on(kind: signal.Signals) -> None:
    status, printed = run(
        kind,
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))",
        "drop_a_reader()",
        "print('goes on')",
    )
    assert status == 0
    assert "Exception ignored in" in printed
    assert "goes on" in printed


@BOTH
def test_further_signals_do_not_disturb_the_end(kind: signal.Signals) -> None:
    closing = "try:\n ask()\n time.sleep(300)\nfinally:\n ask()\n drop_a_reader()\n print('closed')"
    assert run(kind, WORKER, closing) == (128 + kind, "closed\n")


@BOTH
def test_what_is_not_to_be_disturbed_comes_to_its_end(kind: signal.Signals) -> None:
    saving = "with undisturbed():\n ask()\n print('saved')\nprint('goes on')"
    assert run(kind, WORKER, saving) == (128 + kind, "saved\n")
