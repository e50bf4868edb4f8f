"""Draw the rows of one size from the train file, and split them into train and validation.

By hand: python scripts/sample.py --size toy
"""

from dataclasses import replace
from pathlib import Path

from door import enter
from feseq.config.sampling import Sampling
from feseq.dataset.sampling import draw
from feseq.raw.reading import open_parquet


def main(*, raw: str, label: str, rows: int | None, sampling: Sampling, selection: Path) -> None:
    file = open_parquet(raw)
    chosen = draw(file, label, rows, sampling)
    # The conversion refuses the rows if the file has been replaced by then.
    replace(chosen, raw=file.version).write(selection)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
