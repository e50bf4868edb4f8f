"""Fit one baseline and predict the validation rows with it.

By hand: python scripts/fit_baseline.py --size toy --baseline constant
"""

from pathlib import Path

from entry import run_script
from feseq.evaluate.baselines import fit_baseline


def main(
    *,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    baseline: str,
    threads: int,
    full_name: str = "",
    predictions: Path,
    training: Path,
) -> None:
    fit_baseline(
        baseline,
        train,
        valid,
        feature_map,
        predictions,
        training,
        threads=threads,
        full_name=full_name,
    )


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
