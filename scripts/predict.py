"""Predict one part of the test table.

By hand: python scripts/predict.py --size toy --model len100 --part 000
"""

from pathlib import Path

from entry import run_script
from feseq.config.runtime import Runtime
from feseq.predict.part import predict_part


def main(
    *,
    model: Path,
    h5: Path,
    runtime: Runtime,
    threads: int,
    full_name: str = "",
    code: list[str],
    predictions: Path,
) -> None:
    files = (model, h5, predictions)
    predict_part(*files, full_name=full_name, runtime=runtime, threads=threads, code=code)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
