"""Convert the selected rows of one part of the train table to a train and a valid file."""

from pathlib import Path

from entry import run_script
from feseq.common.files import Output
from feseq.config.columns import Columns
from feseq.dataset.conversion import convert_train
from feseq.raw.parts import read_parts


def main(
    *,
    raw: list[str],
    selection: Path,
    parts: Path,
    part: int,
    columns: Columns,
    train: Output,
    valid: Output,
    threads: int,
    size: str = "",
    code: list[str],
) -> None:
    convert_train(
        raw,
        selection,
        columns,
        train,
        valid,
        part=read_parts(parts)[part],
        number=part,
        threads=threads,
        size=size,
        code=code,
    )


if __name__ == "__main__":
    run_script(main)
