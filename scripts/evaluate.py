"""Predict the validation rows with and without their histories.

By hand: python scripts/evaluate.py --size toy --model len100
"""

from pathlib import Path

from entry import run_script
from feseq.config.runtime import Runtime
from feseq.evaluate.validation import predict_validation


def main(
    *,
    model: Path,
    valid: list[Path],
    runtime: Runtime,
    threads: int,
    full_name: str = "",
    predictions: Path,
    speed: Path,
) -> None:
    files = (model, valid, predictions, speed)
    predict_validation(*files, full_name=full_name, runtime=runtime, threads=threads)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
