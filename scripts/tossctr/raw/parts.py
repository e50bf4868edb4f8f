"""Parts of a raw table: ranges of its rows, each converted by one job.

Small files together form a part. A large one is cut between its row groups, and within one that is
large itself. A part depends on its files alone, so replacing a file leaves the other parts as
they are:

    files of 2, 1, 1 and 9 rows, in parts of about 4:   [2 1 1] [5 of 9] [4 of 9]
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from ..common.files import read_json


@dataclass(frozen=True)
class FileSlice:
    """The rows `start` to `stop` (not included) of a file."""

    file: str
    version: str
    start: int
    stop: int


@dataclass(frozen=True)
class Part:
    """Some rows of a table, and the types of the columns that folders give in all of the table.

    `version` changes with the content of its files, their order and the folders' keys. `draw` is
    the digest of the rows that a size draws from a train table, and `delimiter` what separates the
    values of CSV files, if their names do not say it.
    """

    version: str
    rows: int
    key_types: Mapping[str, str]
    pieces: Sequence[FileSlice]
    draw: str = ""
    delimiter: str | None = None


@dataclass(frozen=True)
class Listing:
    """All parts of a table in the order of its rows; `table` is its name."""

    table: str
    rows: int
    parts: Sequence[Part]


_LISTING = TypeAdapter(Listing)


def part_name(number: int) -> str:
    """A part's number as file names have it: 007."""
    return f"{number:03}"


def read_parts(path: Path) -> Listing:
    """The listing in a JSON file; raises UserError if the file is damaged."""
    return read_json(path, _LISTING.validate_python, kind="parts.json")


def cut(
    group_rows: Sequence[Sequence[int]], rows: int, whole: Collection[int] = ()
) -> list[list[tuple[int, int, int]]]:
    """Parts of about `rows` rows, of files with these rows in their row groups.

    Files whose numbers are in `whole` are not cut. A part is a list of (number of the file, first
    row, end); files without rows are in none. A group of small files ends where it is nearest to
    `rows`, so another file that is a little longer moves no bounds behind it.
    """
    parts: list[list[tuple[int, int, int]]] = [[]]
    waiting = 0  # rows of the last part
    for number, groups in enumerate(group_rows):
        count = sum(groups)
        is_large = count > rows
        if is_large or waiting + count / 2 > rows:
            parts.append([])
            waiting = 0
        bounds = [0, count] if number in whole and count else _bounds(groups, rows)
        for start, stop in pairwise(bounds):
            parts[-1].append((number, start, stop))
            if is_large:
                parts.append([])
        waiting += 0 if is_large else count
    return [part for part in parts if part]


def _bounds(group_rows: Sequence[int], rows: int) -> list[int]:
    """Where a file is cut, from 0 to its rows: where a row group ends, if one ends near."""
    ends = np.cumsum([0, *group_rows])
    total = int(ends[-1])
    count = round(total / rows) or 1
    bounds = {0, total}
    for wanted in (total * i // count for i in range(1, count)):
        nearest = int(ends[np.abs(ends - wanted).argmin()])
        bounds.add(nearest if abs(nearest - wanted) <= rows / 2 else wanted)
    return sorted(bounds)
