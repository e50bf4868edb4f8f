"""Benchmarks, each in small: they run, and random kills and hostile inputs do no harm."""

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


@pytest.mark.parametrize(
    "command",
    [
        "data.py --rows 2000 --mean_length 20",
        "model.py --max_len 20 --batch_rows 8 --steps 1",
        "rehearsal.py --rows 3000 --test_rows 2000 --mean_length 10 --part_rows 1000 --cores 1",
        "quality.py --rows 3000 --only constant",
        "blend.py --clicks 9 --draws 2",
    ],
)
def test_a_benchmark_prints_its_table(command: str) -> None:
    assert "|---|" in run(*command.split())


def test_killed_trainings_end_in_the_same_submission() -> None:
    output = run("kills.py", "--kills", "2", "--group_kills", "1", "--terms", "1", "--at_once", "1")
    assert "4 ends, 0 without the same submission" in output


@pytest.mark.parametrize("target", ["raw_values", "outputs"])
def test_hostile_inputs_are_taken_as_meant_or_refused(target: str) -> None:
    run("fuzz.py", target, "--trials", "100")
