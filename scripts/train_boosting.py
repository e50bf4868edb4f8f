"""Train one model of gradient boosting.

By hand: python scripts/train_boosting.py --size toy --model boosting
"""

from pathlib import Path

from door import enter
from feseq.boosting.training import train_boosting
from feseq.config.boosting import BoostingConfig
from feseq.config.runtime import Runtime


def main(
    *,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    boosting_config: BoostingConfig,
    runtime: Runtime,
    threads: int,
    full_name: str = "",
    followed: Path | None = None,
    folds: Path | None = None,
    fold: int = 0,
    model: Path,
    history: Path,
    training: Path,
) -> None:
    train_boosting(
        train,
        valid,
        feature_map,
        boosting_config,
        {"model": model, "history": history, "training": training},
        runtime=runtime,
        threads=threads,
        followed=followed,
        full_name=full_name,
        folds=folds,
        fold=fold,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
