"""A signal ends a process once, wherever it comes, and prints nothing."""

import signal
import subprocess
import sys

import pytest

from support import SCRIPTS

BOTH = pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])

BEGINNING = """
import os, signal, sys, time
from feseq.common.signals import Signals, exit_on_sigterm

def ask():
    os.kill(os.getpid(), int(sys.argv[1]))
"""


def run(kind: signal.Signals, *lines: str) -> tuple[int, str]:
    """The exit status of a program, which `ask()` sends a signal to, and what it prints."""
    command = [sys.executable, "-c", BEGINNING + "\n".join(lines), str(int(kind))]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_second_sigterm_does_not_disturb_the_end() -> None:
    closing = "try:\n ask()\n time.sleep(300)\nfinally:\n ask()\n print('closed')"
    assert run(signal.SIGTERM, "exit_on_sigterm()", closing) == (143, "closed\n")


@BOTH
def test_what_signals_are_held_from_comes_to_its_end(kind: signal.Signals) -> None:
    saving = "try:\n with Signals():\n  ask()\n  print('saved')\n print('goes on')"
    ending = "except KeyboardInterrupt:\n sys.exit(130)"
    assert run(kind, "exit_on_sigterm()", saving, ending) == (128 + kind, "saved\n")


def test_a_signal_that_is_ignored_stays_so() -> None:
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    saving = "with Signals():\n ask()\nprint('goes on')"
    assert run(signal.SIGTERM, ignoring, saving) == (0, "goes on\n")
