"""Convert the test file to test.h5 and cut it into shards.

By hand: python scripts/convert_test.py
"""

from pathlib import Path

from door import enter
from feseq.config.columns import Columns
from feseq.dataset.conversion import convert_test


def main(
    *,
    raw: list[str],
    columns: Columns,
    rows_per_shard: int,
    h5: Path,
    shards: Path,
    threads: int,
    code: list[str],
) -> None:
    convert_test(
        raw,
        columns,
        h5,
        shards,
        rows_per_shard=rows_per_shard,
        threads=threads,
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
