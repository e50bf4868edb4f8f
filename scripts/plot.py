"""Draw the learning curves of one network, what a model's AUC rests on, or where it looks.

By hand: python scripts/plot.py --size toy --name len100 --plot importance
"""

from pathlib import Path

from entry import run_script
from feseq.report.plots.one_model import plot_one


def main(*, plot: str, data: Path, training: Path, full_name: str = "", svg: Path) -> None:
    plot_one(plot, data, training, full_name, svg)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
