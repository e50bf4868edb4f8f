"""Predict one part of the test table by boosting.

By hand: python scripts/predict_boosting.py --size toy --model boosting --part 000
"""

from pathlib import Path

from door import enter
from feseq.boosting.prediction import predict_part


def main(
    *,
    model: Path,
    h5: Path,
    threads: int,
    full_name: str = "",
    code: list[str],
    predictions: Path,
) -> None:
    predict_part(
        model,
        h5,
        predictions,
        threads=threads,
        full_name=full_name,
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
