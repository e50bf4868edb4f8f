"""Measure how good a model's validation predictions are, or those out of fold.

By hand: python scripts/measure.py --size toy --name len100
"""

from pathlib import Path

from door import enter
from feseq.dataset.folds import FoldRows
from feseq.evaluate.measure import write_metrics


def main(
    *,
    predictions: Path,
    valid: list[Path],
    folds: Path | None = None,
    truth: Path | None = None,
    metrics: Path,
    bootstrap: int,
    gauc: str | None = None,
    full_name: str = "",
) -> None:
    write_metrics(
        metrics,
        predictions,
        FoldRows(valid, folds) if folds else valid,
        truth,
        resamples=bootstrap,
        gauc=gauc,
        full_name=full_name,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
