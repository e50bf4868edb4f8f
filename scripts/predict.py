"""Predict one shard of the test file.

By hand: python scripts/predict.py --model model.pt --h5 test.h5 --shards shards.json --shard 0
             --runtime '{"device": "auto"}' --threads 2 --predictions shard0.parquet
"""

import json
from pathlib import Path
from typing import Any

from door import enter
from feseq.errors import UserError
from feseq.inference import predict_shard
from feseq.runtime import start_runtime


def main(
    *,
    model: Path,
    h5: Path,
    shards: Path,
    shard: int,
    runtime: dict[str, Any],
    threads: int,
    predictions: Path,
) -> None:
    all_bounds = json.loads(shards.read_text())
    if shard >= len(all_bounds):
        raise UserError(f"{shards}: there is no shard {shard}, only 0 to {len(all_bounds) - 1}")
    bounds = all_bounds[shard]
    predict_shard(model, h5, predictions, **bounds, machine=start_runtime(runtime, threads))


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
