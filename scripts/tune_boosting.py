"""Search the settings of one model of gradient boosting.

By hand: python scripts/tune_boosting.py --size toy --model boosting
"""

from pathlib import Path

from door import enter
from feseq.config.boosting import BoostingConfig
from feseq.config.runtime import Runtime
from feseq.config.space import TuneConfig
from feseq.tune.boosting import TunedBoosting
from feseq.tune.search import tune_model


def main(
    *,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    boosting_config: BoostingConfig,
    variant: dict[str, bool | int | float | str],
    tuning: TuneConfig,
    runtime: Runtime,
    threads: int,
    size: str,
    model: str,
    code: list[str],
    best: Path,
    trials: Path,
) -> None:
    tune_model(
        TunedBoosting(model, train, valid, feature_map, boosting_config, best, variant),
        {"best": best, "trials": trials},
        size=size,
        tune_config=tuning,
        runtime=runtime,
        threads=threads,
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
