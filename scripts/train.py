"""Train one FESeq model.

By hand: python scripts/train.py --size toy --model len100
"""

from dataclasses import replace
from pathlib import Path

from door import enter
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from feseq.train.run import TrainingRun, train_model


def main(
    *,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    model_config: ModelConfig,
    train_config: TrainConfig,
    runtime: Runtime,
    threads: int,
    full_name: str = "",
    code: list[str],
    followed: Path | None = None,
    folds: Path | None = None,
    fold: int = 0,
    start_from: Path | None = None,
    model: Path,
    history: Path,
    training: Path,
) -> None:
    if start_from:
        # As the rule has it, behind the prefix of a workflow that imports this one.
        train_config = replace(train_config, start_from=str(start_from))
    train_model(
        TrainingRun(
            train,
            valid,
            feature_map,
            model_config,
            train_config,
            followed,
            full_name,
            folds,
            fold,
        ),
        {"model": model, "history": history, "training": training},
        runtime=runtime,
        threads=threads,
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
