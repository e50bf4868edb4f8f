"""Measure how good a model's validation predictions are.

By hand: python scripts/measure.py --size toy --name len100
"""

from pathlib import Path

from entry import run_script
from feseq.evaluate.measure import write_metrics


def main(
    *,
    predictions: Path,
    valid: list[Path],
    truth: Path | None = None,
    metrics: Path,
    full_name: str = "",
) -> None:
    write_metrics(
        metrics,
        predictions,
        valid,
        truth,
        full_name=full_name,
    )


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
