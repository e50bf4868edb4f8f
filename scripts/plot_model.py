"""Draw one model's learning curves, ROC and precision-recall curves, calibration and slices.

By hand: python scripts/plot_model.py --size toy --model len100
"""

from pathlib import Path

from door import enter
from feseq.report.plots.one_model import plot_model


def main(
    *,
    predictions: Path,
    metrics: Path,
    history: Path | None = None,
    learning_curves: Path | None = None,
    roc_pr: Path,
    calibration: Path,
    slices: Path,
) -> None:
    plot_model(predictions, metrics, history, learning_curves, roc_pr, calibration, slices)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
