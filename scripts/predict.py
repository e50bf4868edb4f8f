"""Predict one part of the test table.

By hand: python scripts/predict.py --size toy --model len100 --part 000
"""

from pathlib import Path

from door import enter
from feseq.config.runtime import Runtime
from feseq.model.device import start_runtime
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
    machine = start_runtime(runtime, threads)
    predict_part(
        model,
        h5,
        predictions,
        machine=machine,
        full_name=full_name,
        code=code,
        verbosity=runtime.verbosity,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
