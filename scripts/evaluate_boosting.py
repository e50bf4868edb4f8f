"""Predict the validation rows by boosting, with and without their histories.

By hand: python scripts/evaluate_boosting.py --size toy --model boosting
"""

from pathlib import Path

from door import enter
from feseq.boosting.prediction import predict_validation


def main(
    *,
    model: Path,
    valid: Path,
    predictions: Path,
    speed: Path,
    threads: int,
    full_name: str = "",
) -> None:
    predict_validation(model, valid, predictions, speed, threads=threads, full_name=full_name)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
