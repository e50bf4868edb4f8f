"""Measure what the AUC of boosting rests on: each column, and the history.

By hand: python scripts/importance_boosting.py --size toy --model boosting
"""

from pathlib import Path

from door import enter
from feseq.boosting.importance import measure_boosting


def main(
    *, model: Path, valid: list[Path], importance: Path, threads: int, full_name: str = ""
) -> None:
    measure_boosting(model, valid, importance, threads=threads, full_name=full_name)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
