"""Train one model.

By hand: python scripts/train.py --size toy --model len100
"""

from pathlib import Path
from typing import Any

from entry import run_script
from feseq.config.runtime import Runtime
from feseq.families import family_of


def main(
    *,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    settings: dict[str, Any],
    replay: Path | None = None,
    start_from: Path | None = None,
    full_name: str,
    runtime: Runtime,
    threads: int,
    code: list[str],
    model: Path,
    history: Path,
    training: Path,
) -> None:
    family_of(Path(full_name).name).verb("train")(
        train,
        valid,
        feature_map,
        settings,
        {"model": model, "history": history, "training": training},
        replay=replay,
        start_from=start_from,
        full_name=full_name,
        runtime=runtime,
        threads=threads,
        code=code,
    )


if __name__ == "__main__":
    run_script(main)
