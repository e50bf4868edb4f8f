"""Search the settings of one model.

By hand: python scripts/tune.py --train train.h5 --valid valid.h5 --feature_map feature_map.json
             --model_config '{"max_len": 100, ...}' --train_config '{"batch_size": 512, ...}'
             --tuning '{"trials": 20, "workers": 1, "seed": 42, "startup_trials": 8,
                        "space": {"model.dropout": {"low": 0.0, "high": 0.3}}}'
             --runtime '{"device": "auto"}' --threads 2 --size toy
             --best best.yaml --trials trials.csv
"""

from pathlib import Path
from typing import Any

from door import enter
from feseq.config.space import TuneConfig
from feseq.model import ModelConfig
from feseq.train.loop import TrainConfig
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
