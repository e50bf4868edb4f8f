"""List the parts of the test table, each of which is converted and predicted by itself.

By hand: python scripts/list_test.py
"""

from pathlib import Path

from entry import run_script
from feseq.config.columns import Columns
from feseq.dataset.list_test import list_test


def main(*, raw: list[str], columns: Columns, rows: int, parts: Path, threads: int) -> None:
    list_test(raw, columns, parts, rows=rows, threads=threads)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
