"""Write the simulated stand-in of one raw file, and its true click probabilities apart.

By hand: python scripts/simulate.py --split train
"""

from pathlib import Path
from typing import Literal

from entry import run_script
from feseq.simulation import simulate_split


def main(
    *,
    split: Literal["train", "test"],
    rows: int,
    mean_length: float,
    seed: int,
    train_rows: int = 0,
    parquet: Path,
    truth: Path,
) -> None:
    simulate_split(
        parquet,
        truth,
        split=split,
        rows=rows,
        mean_length=mean_length,
        seed=seed,
        train_rows=train_rows,
    )


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
