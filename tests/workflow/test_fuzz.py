"""The fuzzer's targets: nothing is silent or wrong, a traceback or a hang."""

import subprocess
import sys

import pytest

from support import REPOSITORY


@pytest.mark.slow
@pytest.mark.parametrize("target", ["raw_values", "outputs"])
def test_hostile_inputs_are_taken_as_meant_or_refused(target: str) -> None:
    command = [sys.executable, str(REPOSITORY / "benchmarks/fuzz.py"), target, "--trials", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
