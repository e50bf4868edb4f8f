"""Join the predictions of all folds to those of the train rows.

By hand: python scripts/join_folds.py --size toy --name len100
"""

from pathlib import Path

from door import enter
from feseq.evaluate.out_of_fold import join_folds


def main(*, folds: Path, predictions: list[Path], out_of_fold: Path, full_name: str = "") -> None:
    join_folds(folds, predictions, out_of_fold, full_name)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
