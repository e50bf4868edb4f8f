"""Draw the rows of one size from the train file, and split them into train and validation.

By hand: python scripts/sample.py --raw train.parquet --label clicked --rows 1000
             --valid_share 0.1 --seed 42 --selection toy.parquet
"""

from dataclasses import replace
from pathlib import Path

from door import enter
from feseq.files import fingerprint
from feseq.sampling import read_labels, select_rows


def main(
    *, raw: Path, label: str, rows: int | None, valid_share: float, seed: int, selection: Path
) -> None:
    labels = read_labels(raw, label)
    chosen = select_rows(labels, rows, valid_share, seed)
    replace(chosen, raw=fingerprint(raw)).write(selection)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
