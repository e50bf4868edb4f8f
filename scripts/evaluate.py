"""Predict the validation rows with and without their histories.

By hand: python scripts/evaluate.py --size toy --model len100
"""

from pathlib import Path
from typing import Any

from door import enter
from feseq.evaluate.trained_model import predict_validation
from feseq.machine.runtime import start_runtime


def main(
    *,
    model: Path,
    valid: Path,
    predictions: Path,
    speed: Path,
    attention: Path,
    threads: int,
    runtime: dict[str, Any],
) -> None:
    machine = start_runtime(runtime, threads)
    verbosity = runtime.get("verbosity", 1)
    predict_validation(
        model, valid, predictions, speed, attention, machine=machine, verbosity=verbosity
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
