"""Predict the validation rows by boosting, with and without their histories.

By hand: python scripts/evaluate_boosting.py --size toy --model boosting
"""

from pathlib import Path

from door import enter
from feseq.boosting.prediction import predict_validation
from feseq.dataset.folds import FoldRows


def main(
    *,
    model: Path,
    valid: list[Path],
    folds: Path | None = None,
    fold: int = 0,
    predictions: Path,
    speed: Path,
    threads: int,
    full_name: str = "",
) -> None:
    rows = FoldRows(valid, folds, fold) if folds else valid
    predict_validation(model, rows, predictions, speed, threads=threads, full_name=full_name)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
