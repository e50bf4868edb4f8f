"""Draw the learning curves of one network.

By hand: python scripts/plot_learning_curves.py --size toy --name len100
"""

from pathlib import Path

from entry import run_script
from feseq.report.plots.one_model import plot_learning_curves


def main(*, history: Path, metrics: Path, plot: Path) -> None:
    plot_learning_curves(history, metrics, plot)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
