"""Fit vocabularies and numeric ranges on the train split."""

from pathlib import Path

from entry import run_script
from feseq.common.files import Output
from feseq.config.columns import Columns
from feseq.dataset.fitting import fit_feature_map

NONE: list[Path] = []


def main(
    *,
    train: list[Path],
    valid: list[Path] = NONE,
    columns: Columns,
    min_count: int,
    feature_map: Output,
) -> None:
    fit_feature_map(train, columns, min_count, valid).write(feature_map)


if __name__ == "__main__":
    run_script(main)
