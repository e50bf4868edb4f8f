"""Part the train rows of one size into folds.

By hand: python scripts/draw_folds.py --size toy
"""

from pathlib import Path

from door import enter
from feseq.config.sampling import Sampling
from feseq.dataset.draw_folds import draw_folds
from feseq.dataset.mixed import open_files
from feseq.raw.reading import open_parquet


def main(*, raw: list[str], label: str, train: list[Path], sampling: Sampling, folds: Path) -> None:
    with open_files(train) as table:
        row = table.column("row")
    draw_folds(open_parquet(raw), label, sampling, row).write(folds)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
