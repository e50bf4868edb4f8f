"""Draw where one model looks: among the fields, and over the positions of the history.

By hand: python scripts/plot_attention.py --size toy --name len100
"""

from pathlib import Path

from entry import run_script
from feseq.report.plots.attention import plot_attention


def main(*, attention: Path, training: Path | None = None, plot: Path) -> None:
    plot_attention(attention, training, plot)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
