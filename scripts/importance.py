"""Measure what a model's AUC rests on: each column, and the history.

By hand: python scripts/importance.py --size toy --model len100
"""

from pathlib import Path

from door import enter
from feseq.config.runtime import Runtime
from feseq.evaluate.network_importance import measure_network
from feseq.model.device import start_runtime


def main(
    *,
    model: Path,
    valid: list[Path],
    importance: Path,
    threads: int,
    full_name: str = "",
    runtime: Runtime,
) -> None:
    machine = start_runtime(runtime, threads)
    measure_network(model, valid, importance, machine=machine, full_name=full_name)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
