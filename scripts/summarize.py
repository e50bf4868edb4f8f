"""Write one page on all models: which is best, by how much, and what to submit.

By hand: python scripts/summarize.py
"""

from pathlib import Path

from entry import run_script
from feseq.report.summary import write_summary


def main(
    *,
    comparison: Path,
    importances: list[Path],
    facts: list[Path],
    summary: Path,
    view: Path,
    aucs: Path,
    by_max_len: Path,
    speed: Path,
    submitting: dict[str, dict[str, float] | None],
    prior: str,
    refit: bool,
    split: dict[str, str | int | None],
) -> None:
    write_summary(
        comparison,
        importances,
        facts,
        {"aucs": aucs, "by_max_len": by_max_len, "speed": speed},
        summary,
        view,
        submitting=submitting,
        prior=prior,
        refit=refit,
        split=split,
    )


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
