"""Train one FESeq model.

By hand: python scripts/train.py --train train.h5 --valid valid.h5 --feature_map feature_map.json
             --model_config '{"max_len": 100, ...}' --train_config '{"batch_size": 512, ...}'
             --runtime '{"device": "auto", "verbosity": 1}' --threads 2
             --model model.pt --history history.csv --training training.json
"""

from pathlib import Path
from typing import Any

from door import enter
from feseq.model import ModelConfig
from feseq.runtime import start_runtime
from feseq.trainer import TrainConfig
from feseq.training import train_model


def main(
    *,
    train: Path,
    valid: Path,
    feature_map: Path,
    model_config: dict[str, Any],
    train_config: dict[str, Any],
    runtime: dict[str, Any],
    threads: int,
    code: list[str],
    model: Path,
    history: Path,
    training: Path,
) -> None:
    train_model(
        train,
        valid,
        feature_map,
        {"model": model, "history": history, "training": training},
        model_config=ModelConfig(**model_config),
        train_config=TrainConfig(**train_config),
        machine=start_runtime(runtime, threads),
        verbosity=runtime.get("verbosity", 1),
        save_minutes=runtime.get("save_minutes", 10),
        tensorboard=runtime.get("tensorboard", False),
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
