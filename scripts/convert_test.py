"""Convert one part of the test table to H5."""

from pathlib import Path

from entry import run_script
from feseq.common.files import Output
from feseq.config.columns import Columns
from feseq.dataset.conversion import convert_test
from feseq.raw.parts import read_parts


def main(
    *,
    raw: list[str],
    parts: Path,
    part: int,
    columns: Columns,
    h5: Output,
    threads: int,
    code: list[str],
) -> None:
    convert_test(raw, columns, h5, part=read_parts(parts)[part], threads=threads, code=code)


if __name__ == "__main__":
    run_script(main)
