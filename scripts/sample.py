"""Draw the rows of one size from the train file, and split them into train and validation.

By hand: python scripts/sample.py --size toy
"""

from pathlib import Path

from door import enter
from feseq.config.sampling import Sampling
from feseq.dataset.sampling import draw
from feseq.raw.reading import open_parquet


def main(
    *, raw: list[str], label: str, rows: int | None, sampling: Sampling, selection: Path
) -> None:
    draw(open_parquet(raw), label, rows, sampling).write(selection)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
