"""Compare two models of one size: which is better, and whether that is chance.

By hand: python scripts/compare_two.py --size toy --one len100 --two boosting
"""

from pathlib import Path

from entry import run_script
from feseq.report.comparison import write_two_models


def main(*, first: Path, other: Path, page: Path) -> None:
    write_two_models(first, other, page)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
