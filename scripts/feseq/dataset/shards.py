"""Shards of the test file: ranges of its rows, each predicted by a job of its own."""

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ..common.errors import UserError, first_line


class Shard(NamedTuple):
    """Rows start to stop (not included)."""

    start: int
    stop: int


def write_shards(path: Path, rows: int, rows_per_shard: int) -> int:
    """Cut `rows` rows into shards, written as JSON; how many there are."""
    bounds = [*range(0, rows, rows_per_shard), rows]
    path.write_text(json.dumps([{"start": a, "stop": b} for a, b in pairwise(bounds)], indent=1))
    return len(bounds) - 1


def read_shards(path: Path) -> list[Shard]:
    """Read what `write_shards` wrote; raises UserError unless the shards follow one another."""
    try:
        shards = [Shard(**bounds) for bounds in json.loads(path.read_text())]
        starts = [0, *(shard.stop for shard in shards)]
        if not shards or any(
            type(shard.stop) is not int or shard.start != start or not start < shard.stop
            for start, shard in zip(starts, shards)
        ):
            raise ValueError("its shards do not follow one another")
        return shards
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: not a list of shards ({first_line(error)}); delete it and run the same "
            f"command again, it is rebuilt"
        ) from None
