"""Draw the rows of one size from the train table, split them, and list the table's parts.

By hand: python scripts/sample.py --size toy
"""

from pathlib import Path

from entry import run_script
from feseq.config.sampling import Sampling
from feseq.dataset.sampling import sample


def main(
    *,
    raw: list[str],
    label: str,
    rows: int | None,
    part_rows: int,
    sampling: Sampling,
    selection: Path,
    parts: Path,
) -> None:
    sample(raw, label, rows, sampling, part_rows=part_rows, selection=selection, parts=parts)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
