"""Draw the rows of one size from the train file, and split them into train and validation.

By hand: python scripts/sample.py --raw s3://bucket/train.parquet --label clicked --rows 1000
             --valid_share 0.1 --seed 42 --selection toy.parquet
"""

from dataclasses import replace
from pathlib import Path

from door import enter
from feseq.dataset.sampling import read_labels, select_rows
from feseq.raw.location import version_of


def main(
    *, raw: str, label: str, rows: int | None, valid_share: float, seed: int, selection: Path
) -> None:
    # Before the labels: of a file that is replaced meanwhile, the conversion then refuses the rows.
    version = version_of(raw)
    chosen = select_rows(read_labels(raw, label), rows, valid_share, seed)
    replace(chosen, raw=version).write(selection)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
