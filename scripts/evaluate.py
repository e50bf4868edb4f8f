"""Predict the validation rows with and without their histories.

By hand: python scripts/evaluate.py --size toy --model len100
"""

from pathlib import Path

from door import enter
from feseq.config.runtime import Runtime
from feseq.dataset.folds import FoldRows
from feseq.evaluate.trained_model import predict_validation
from feseq.model.device import start_runtime


def main(
    *,
    model: Path,
    valid: list[Path],
    folds: Path | None = None,
    fold: int = 0,
    predictions: Path,
    speed: Path,
    attention: Path,
    threads: int,
    full_name: str = "",
    runtime: Runtime,
) -> None:
    machine = start_runtime(runtime, threads)
    rows = FoldRows(valid, folds, fold) if folds else valid
    files = (model, rows, predictions, speed, attention)
    predict_validation(*files, machine=machine, full_name=full_name, verbosity=runtime.verbosity)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
