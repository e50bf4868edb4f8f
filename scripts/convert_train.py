"""Convert the selected rows of the train file to train.h5 and valid.h5, shuffled.

By hand: python scripts/convert_train.py --size toy
"""

from pathlib import Path

from door import enter
from feseq.config.columns import Columns
from feseq.dataset.conversion import convert_train


def main(
    *,
    raw: list[str],
    selection: Path,
    columns: Columns,
    train: Path,
    valid: Path,
    threads: int,
    size: str = "",
    code: list[str],
) -> None:
    convert_train(raw, selection, columns, train, valid, threads=threads, size=size, code=code)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
