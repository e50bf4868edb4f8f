"""Measure what a model's AUC rests on: each column, and the history.

By hand: python scripts/importance.py --size toy --model len100
"""

from pathlib import Path

from entry import run_script
from feseq.config.runtime import Runtime
from feseq.evaluate.importance import measure_importance


def main(
    *,
    model: Path,
    valid: list[Path],
    runtime: Runtime,
    threads: int,
    full_name: str = "",
    importance: Path,
) -> None:
    files = (model, valid, importance)
    measure_importance(*files, full_name=full_name, runtime=runtime, threads=threads)


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
