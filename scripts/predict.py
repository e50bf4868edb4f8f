"""Predict one shard of the test file.

By hand: python scripts/predict.py --size toy --model len100 --shard 0
"""

from pathlib import Path
from typing import Any

from door import enter
from feseq.common.errors import UserError
from feseq.dataset.shards import read_shards
from feseq.machine.runtime import start_runtime
from feseq.predict.shard import predict_shard


def main(
    *,
    model: Path,
    h5: Path,
    shards: Path,
    shard: int,
    runtime: dict[str, Any],
    threads: int,
    code: list[str],
    predictions: Path,
) -> None:
    all_shards = read_shards(shards)
    if not 0 <= shard < len(all_shards):
        raise UserError(f"{shards}: there is no shard {shard}, only 0 to {len(all_shards) - 1}")
    start, stop = all_shards[shard]
    machine = start_runtime(runtime, threads)
    predict_shard(
        model,
        h5,
        predictions,
        start=start,
        stop=stop,
        machine=machine,
        code=code,
        verbosity=runtime.get("verbosity", 1),
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
