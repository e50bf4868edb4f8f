"""Draw all models side by side: AUC, the length of the history, speed and memory.

By hand: python scripts/plot_comparison.py
"""

from pathlib import Path

from entry import run_script
from feseq.report.plots.models import plot_comparison


def main(*, comparison: Path, aucs: Path, by_max_len: Path, speed: Path) -> None:
    plot_comparison(comparison, aucs, by_max_len, speed)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
