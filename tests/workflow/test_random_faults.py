"""Random kills and hostile inputs, a few rounds: benchmarks/ makes as many as one likes."""

import subprocess
import sys

import pytest

from support import REPOSITORY

pytestmark = pytest.mark.slow


def run(script: str, *arguments: str) -> str:
    """What a benchmark printed, which ended well."""
    command = [sys.executable, str(REPOSITORY / "benchmarks" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_killed_trainings_end_in_the_same_submission() -> None:
    output = run("kills.py", "--kills", "2", "--group_kills", "1", "--terms", "1", "--at_once", "1")
    assert "4 ends, 0 without the same submission" in output


@pytest.mark.parametrize("target", ["raw_values", "outputs"])
def test_hostile_inputs_are_taken_as_meant_or_refused(target: str) -> None:
    run("fuzz.py", target, "--trials", "100")
