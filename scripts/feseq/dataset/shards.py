"""Shards of the test file: ranges of rows, each predicted by its own job."""

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ..common.errors import UserError
from ..common.files import read_json


class Shard(NamedTuple):
    """Rows start to stop (not included)."""

    start: int
    stop: int


def write_shards(path: Path, rows: int, rows_per_shard: int) -> int:
    """Cut `rows` rows into shards, write them as JSON, and return how many there are."""
    bounds = [*range(0, rows, rows_per_shard), rows]
    path.write_text(json.dumps([{"start": a, "stop": b} for a, b in pairwise(bounds)], indent=1))
    return len(bounds) - 1


def read_shards(path: Path) -> list[Shard]:
    """Read what `write_shards` wrote."""
    return read_json(path, lambda shards: [Shard(**bounds) for bounds in shards])


def shard_rows(path: Path, shard: int) -> Shard:
    """The rows of one of them; raises UserError if there is none of that number."""
    shards = read_shards(path)
    if not 0 <= shard < len(shards):
        raise UserError(f"{path}: there is no shard {shard}, only 0 to {len(shards) - 1}")
    return shards[shard]
