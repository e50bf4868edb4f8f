"""Measure how good a model's validation predictions are.

By hand: python scripts/measure.py --size toy --name len100
"""

from pathlib import Path

from door import enter
from feseq.evaluate.metrics_file import write_metrics


def main(
    *,
    predictions: Path,
    valid: Path,
    truth: Path | None = None,
    metrics: Path,
    bootstrap: int,
    slices: list[str] | None = None,
    gauc: str | None = None,
    full_name: str = "",
) -> None:
    write_metrics(
        metrics,
        predictions,
        valid,
        truth,
        resamples=bootstrap,
        slices=slices,
        gauc=gauc,
        full_name=full_name,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
