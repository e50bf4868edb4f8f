"""A signal ends a process once, wherever it comes, and prints nothing."""

import signal

import pytest

from support import SCRIPTS
from support.processes import run_python

BEGINNING = """
import os, signal, sys, time
from tossctr.common.signals import DeferredSignals, exit_on_sigterm

def ask():
    os.kill(os.getpid(), int(sys.argv[1]))
"""


def run(kind: signal.Signals, *lines: str) -> tuple[int, str]:
    """The exit status of a program, which `ask()` sends a signal to, and what it prints."""
    program = BEGINNING + "\n".join(lines)
    done = run_python("-c", program, str(int(kind)), env={"PYTHONPATH": str(SCRIPTS)})
    return done.returncode, done.stdout + done.stderr


SAVING = "try:\n with DeferredSignals():\n  ask()\n  print('saved')\n print('goes on')"
SIGTERM = "os.kill(os.getpid(), 15)"
IGNORED = f"signal.signal(15, signal.SIG_IGN)\n{SAVING}"
CLOSING = f"""
try:
    try:
        with DeferredSignals():
            ask()
            %s
            print('saved')
    finally:
        {SIGTERM}
        print('closed')"""


@pytest.mark.parametrize(
    ("kind", "program", "expected"),
    [
        (signal.SIGTERM, SAVING, (143, "saved\n")),
        (signal.SIGTERM, IGNORED, (0, "saved\ngoes on\n")),
        (signal.SIGTERM, CLOSING % "pass", (143, "saved\nclosed\n")),
        (signal.SIGINT, CLOSING % SIGTERM, (0, "saved\nclosed\nCtrl-C\n")),
        (signal.SIGINT, CLOSING % "ask()", (0, "closed\nCtrl-C\n")),
    ],
    ids=["sigterm", "sigterm ignored", "sigterm twice", "sigterm after ctrl-c", "ctrl-c twice"],
)
def test_a_signal_ends_once_and_after_what_it_is_held_from(
    kind: signal.Signals, program: str, expected: tuple[int, str]
) -> None:
    ending = "except KeyboardInterrupt:\n print('Ctrl-C')"
    assert run(kind, "exit_on_sigterm()", program, ending) == expected


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


INTERRUPTED = f"""
import subprocess
from tossctr.common.interrupt import end_jobs_on_interrupt
# A shell between, as Snakemake calls a script.
shell = ["bash", "-c", 'set -e; "$0" -c "$1"; :', sys.executable, {SCRIPT!r}]
end_jobs_on_interrupt()
job = subprocess.Popen(shell, stdout=subprocess.PIPE, text=True)
print(job.stdout.readline().strip(), flush=True)
try:
    ask()
except KeyboardInterrupt:
    print(job.communicate()[0].strip(), job.returncode)
"""


def test_an_interrupted_snakemake_ends_the_scripts_in_its_shells() -> None:
    code, output = run(signal.SIGINT, INTERRUPTED)
    assert (code, output.splitlines()[:2]) == (0, ["runs", "saved 143"])
