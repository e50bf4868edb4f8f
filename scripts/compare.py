"""Compare all models trained so far in one table.

By hand: python scripts/compare.py
"""

from pathlib import Path

from entry import run_script
from feseq.report.comparison import write_comparison


def main(*, metrics: list[Path], comparison: Path, view: Path) -> None:
    write_comparison(metrics, comparison, view)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
