"""Draw one model's ROC and precision-recall curves, calibration and slices.

By hand: python scripts/plot_model.py --size toy --name len100
"""

from pathlib import Path

from entry import run_script
from feseq.report.plots.one_model import plot_model


def main(
    *, predictions: Path, metrics: Path, roc_pr: Path, calibration: Path, slices: Path
) -> None:
    plot_model(predictions, metrics, roc_pr, calibration, slices)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
