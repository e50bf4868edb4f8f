"""Predict one shard of the test file by boosting.

By hand: python scripts/predict_boosting.py --size toy --model boosting --shard 0
"""

from pathlib import Path

from door import enter
from feseq.boosting.prediction import predict_shard
from feseq.dataset.shards import shard_rows


def main(
    *,
    model: Path,
    h5: Path,
    shards: Path,
    shard: int,
    threads: int,
    full_name: str = "",
    code: list[str],
    predictions: Path,
) -> None:
    start, stop = shard_rows(shards, shard)
    predict_shard(
        model,
        h5,
        predictions,
        start=start,
        stop=stop,
        threads=threads,
        full_name=full_name,
        code=code,
    )


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
