"""Train one FESeq model.

By hand: python scripts/train.py --size toy --model len100
"""

from pathlib import Path
from typing import Any

from door import enter
from feseq.config.model import ModelConfig
from feseq.config.train import TrainConfig
from feseq.train.run import TrainingRun, train_model


def main(
    *,
    train: Path,
    valid: Path,
    feature_map: Path,
    model_config: dict[str, Any],
    train_config: dict[str, Any],
    gpus: int = 1,
    nodes: int = 1,
    runtime: dict[str, Any],
    threads: int,
    code: list[str],
    model: Path,
    history: Path,
    training: Path,
) -> None:
    train_model(
        TrainingRun(
            train,
            valid,
            feature_map,
            # Settings that the network does not use are null.
            ModelConfig(**{key: value for key, value in model_config.items() if value is not None}),
            TrainConfig(**train_config, gpus=gpus, nodes=nodes),
        ),
        {"model": model, "history": history, "training": training},
        runtime=runtime,
        threads=threads,
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
