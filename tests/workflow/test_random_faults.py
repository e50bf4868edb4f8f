"""Random inputs and random kills, a few rounds of each: benchmarks/ makes as many as one likes."""

import re
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


def test_odd_and_damaged_inputs_end_well_or_in_a_clear_error() -> None:
    output = run("fuzz.py", "--minutes", "1", "--seed", "14")
    cases = re.findall(r"^\| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| 0 \|$", output, re.M)
    # Each kind of input had some that passed or were refused.
    assert len(cases) == 5, output
    assert all(int(total.replace(",", "")) > 20 for _, total, *_ in cases), output


def test_killed_trainings_end_in_the_same_submission() -> None:
    output = run("kills.py", "--kills", "2", "--group_kills", "1", "--terms", "1", "--at_once", "1")
    assert "4 ends, 0 without the same submission" in output
