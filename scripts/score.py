"""Score new rows by the models that submit.

By hand: python scripts/score.py --name week
Without rules, --model and --input once or more often:
    python scripts/score.py --model model.safetensors --input new.parquet --output scores.parquet
"""

import os
from pathlib import Path
from typing import Literal

from entry import run_script
from feseq.common.files import read_json
from feseq.config.names import share_of
from feseq.config.runtime import Runtime
from feseq.predict.scoring import score_files

# By hand, where no config says more.
_RUNTIME = Runtime()


def main(
    *,
    model: list[Path],
    input: list[str],
    output: Path,
    id_column: str = "ID",
    row_time: str | None = None,
    weights: list[float] | None = None,
    fitted: Path | None = None,
    prior: Literal["observed", "balanced"] = "observed",
    part_rows: int = 500_000,
    runtime: Runtime = _RUNTIME,
    threads: int = os.cpu_count() or 1,
) -> None:
    shares = read_json(fitted) if fitted else {}
    score_files(
        model,
        input,
        output,
        id_column=id_column,
        row_time=row_time,
        weights=[share_of(shares, path) for path in model] if fitted else weights,
        prior=prior,
        part_rows=part_rows,
        runtime=runtime,
        threads=threads,
    )


if __name__ == "__main__":
    run_script(main, globals().get("snakemake"))
