"""Search the settings of one FESeq model.

By hand: python scripts/tune.py --size toy --model len100
"""

from pathlib import Path

from door import enter
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.space import TuneConfig
from feseq.config.train import TrainConfig
from feseq.train.run import TrainingRun
from feseq.tune.network import TunedNetwork
from feseq.tune.search import tune_model


def main(
    *,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    model_config: ModelConfig,
    train_config: TrainConfig,
    tuning: TuneConfig,
    runtime: Runtime,
    threads: int,
    size: str,
    code: list[str],
    best: Path,
    trials: Path,
) -> None:
    tune_model(
        TunedNetwork(TrainingRun(train, valid, feature_map, model_config, train_config)),
        {"best": best, "trials": trials},
        size=size,
        tune_config=tuning,
        runtime=runtime,
        threads=threads,
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
