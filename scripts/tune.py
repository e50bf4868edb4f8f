"""Search the settings of one model.

By hand: python scripts/tune.py --size toy --model len100
"""

from pathlib import Path
from typing import Any

from entry import run_script
from feseq.config.runtime import Runtime
from feseq.config.space import TuneConfig
from feseq.tune.search import tune_model


def main(
    *,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    settings: dict[str, Any],
    variant: dict[str, Any],
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
        train,
        valid,
        feature_map,
        settings,
        {"best": best, "trials": trials},
        model=model,
        variant=variant,
        size=size,
        tune_config=tuning,
        runtime=runtime,
        threads=threads,
        code=code,
    )


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
