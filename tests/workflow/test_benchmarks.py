"""Benchmarks, each in small: they run, and random kills do no harm."""

import pytest

from support import REPOSITORY
from support.processes import run_python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("model.py --max_len 20 --batch_rows 8 --steps 1", "|---|"),
        (
            "rehearsal.py --rows 3000 --test_rows 2000 --mean_length 10 --part_rows 1000 --cores 1",
            "|---|",
        ),
        ("public.py --tables stand-in --rows 3000 --scripts XGBoost --cores 1", "| blend |"),
        (
            "kills.py --kills 2 --group_kills 1 --terms 1 --at_once 1",
            "4 ends, 0 without the same submission",
        ),
    ],
)
def test_a_benchmark_ends_well_and_prints_its_result(command: str, printed: str) -> None:
    script, *arguments = command.split()
    done = run_python(REPOSITORY / "benchmarks" / script, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert printed in done.stdout
