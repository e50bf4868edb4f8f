"""Compare the IDs of the sample submission with those of the test file, before anything is trained.

By hand: python scripts/check_sample.py
"""

from pathlib import Path

from entry import run_script
from feseq.predict.sample_check import check_sample


def main(*, raw: list[str], sample_submission: str, id_column: str, checked: Path) -> None:
    check_sample(raw, sample_submission, id_column, checked)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
