"""A signal ends a process once, wherever it comes, and prints nothing."""

import signal

import pytest

from support import SCRIPTS
from support.processes import run_python

BOTH = pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])

BEGINNING = """
import os, signal, sys, time
from tossctr.common.signals import Signals, exit_on_sigterm

def ask():
    os.kill(os.getpid(), int(sys.argv[1]))
"""


def run(kind: signal.Signals, *lines: str) -> tuple[int, str]:
    """The exit status of a program, which `ask()` sends a signal to, and what it prints."""
    program = BEGINNING + "\n".join(lines)
    done = run_python("-c", program, str(int(kind)), env={"PYTHONPATH": str(SCRIPTS)})
    return done.returncode, done.stdout + done.stderr


def test_a_second_sigterm_does_not_disturb_the_end_and_an_ignored_one_nothing() -> None:
    closing = "try:\n ask()\n time.sleep(300)\nfinally:\n ask()\n print('closed')"
    assert run(signal.SIGTERM, "exit_on_sigterm()", closing) == (143, "closed\n")
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    saving = "with Signals():\n ask()\nprint('goes on')"
    assert run(signal.SIGTERM, ignoring, saving) == (0, "goes on\n")


@BOTH
def test_what_signals_are_held_from_comes_to_its_end(kind: signal.Signals) -> None:
    saving = "try:\n with Signals():\n  ask()\n  print('saved')\n print('goes on')"
    ending = "except KeyboardInterrupt:\n sys.exit(130)"
    assert run(kind, "exit_on_sigterm()", saving, ending) == (128 + kind, "saved\n")


SCRIPT = """
import time
from tossctr.common.signals import exit_on_sigterm
exit_on_sigterm()
try:
    print("runs", flush=True)
    time.sleep(300)
finally:
    print("saved")
"""


def test_an_interrupted_snakemake_ends_the_scripts_in_its_shells() -> None:
    # A shell between, as Snakemake calls a script.
    shell = """shell = ["bash", "-c", 'set -e; "$0" -c "$1"; :', sys.executable, SCRIPT]"""
    code, output = run(
        signal.SIGINT,
        "import subprocess",
        "from tossctr.common.interrupt import interrupt_jobs",
        f"SCRIPT = {SCRIPT!r}",
        shell,
        "interrupt_jobs()",
        "job = subprocess.Popen(shell, stdout=subprocess.PIPE, text=True)",
        "print(job.stdout.readline().strip(), flush=True)",
        "try:",
        " ask()",
        "except KeyboardInterrupt:",
        " print(job.communicate()[0].strip(), job.returncode)",
    )
    assert code == 0
    assert output.splitlines()[:2] == ["runs", "saved 143"]


@BOTH
def test_after_ctrl_c_sigterm_changes_nothing_and_a_second_ctrl_c_ends(
    kind: signal.Signals,
) -> None:
    ending = "except KeyboardInterrupt:\n print('Ctrl-C')"
    again = f"os.kill(os.getpid(), {int(kind)})"
    for saving in (
        f"try:\n try:\n  ask()\n finally:\n  {again}\n  print('saved')",
        f"try:\n with Signals():\n  ask()\n  {again}\n  print('saved')",
    ):
        expected = "saved\nCtrl-C\n" if kind == signal.SIGTERM else "Ctrl-C\n"
        assert run(signal.SIGINT, "exit_on_sigterm()", saving, ending) == (0, expected)
