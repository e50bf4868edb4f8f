"""Draw what one model's AUC rests on: its columns and its history.

By hand: python scripts/plot_importance.py --size toy --name len100
"""

from pathlib import Path

from entry import run_script
from feseq.report.plots.importance import plot_importance


def main(*, importance: Path, plot: Path) -> None:
    plot_importance(importance, plot)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
