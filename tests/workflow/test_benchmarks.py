"""Benchmarks, each in small: they run, and random kills and hostile inputs do no harm."""

import pytest

from support import REPOSITORY
from support.processes import run_python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("data.py --rows 2000 --mean_length 20", "|---|"),
        ("model.py --max_len 20 --batch_rows 8 --steps 1", "|---|"),
        (
            "rehearsal.py --rows 3000 --test_rows 2000 --mean_length 10 --part_rows 1000 --cores 1",
            "|---|",
        ),
        ("quality.py --rows 3000 --only constant", "|---|"),
        ("public.py --tables stand-in --rows 3000 --scripts XGBoost --cores 1", "| blend |"),
        ("blend.py --clicks 9 --draws 2", "|---|"),
        (
            "kills.py --kills 2 --group_kills 1 --terms 1 --at_once 1",
            "4 ends, 0 without the same submission",
        ),
        ("fuzz.py raw_values --trials 100", ""),
        ("fuzz.py outputs --trials 100", ""),
    ],
)
def test_a_benchmark_ends_well_and_prints_its_result(command: str, printed: str) -> None:
    script, *arguments = command.split()
    done = run_python(REPOSITORY / "benchmarks" / script, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert printed in done.stdout
