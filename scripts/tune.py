"""Search the settings of one model.

By hand: python scripts/tune.py --size toy --model len100
"""

from pathlib import Path
from typing import Any

from door import enter
from feseq.config.model import ModelConfig
from feseq.config.space import TuneConfig
from feseq.config.train import TrainConfig
from feseq.train.run import TrainingRun
from feseq.tune.search import tune_model


def main(
    *,
    train: Path,
    valid: Path,
    feature_map: Path,
    model_config: dict[str, Any],
    train_config: dict[str, Any],
    tuning: dict[str, Any],
    runtime: dict[str, Any],
    threads: int,
    size: str,
    code: list[str],
    best: Path,
    trials: Path,
) -> None:
    tune_model(
        TrainingRun(
            train, valid, feature_map, ModelConfig(**model_config), TrainConfig(**train_config)
        ),
        {"best": best, "trials": trials},
        size=size,
        tune_config=TuneConfig(**tuning),
        runtime=runtime,
        threads=threads,
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
