"""Predict one shard of the test file.

By hand: python scripts/predict.py --size toy --model len100 --shard 0
"""

from pathlib import Path

from door import enter
from feseq.config.runtime import Runtime
from feseq.dataset.shards import shard_rows
from feseq.machine.runtime import start_runtime
from feseq.predict.shard import predict_shard


def main(
    *,
    model: Path,
    h5: Path,
    shards: Path,
    shard: int,
    runtime: Runtime,
    threads: int,
    full_name: str = "",
    code: list[str],
    predictions: Path,
) -> None:
    start, stop = shard_rows(shards, shard)
    machine = start_runtime(runtime, threads)
    predict_shard(
        model,
        h5,
        predictions,
        start=start,
        stop=stop,
        machine=machine,
        full_name=full_name,
        code=code,
        verbosity=runtime.verbosity,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
