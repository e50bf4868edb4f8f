"""Parts of a raw table: ranges of its rows, each converted by one job.

Small files together form a part. A large file is cut between its row groups, or within a row group
that is large itself. A part depends on its files alone, so replacing a file leaves the other parts
as they are:

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
    """Rows `start` to `stop` (not included) of a file."""

    file: str
    version: str
    start: int
    stop: int


@dataclass(frozen=True)
class Part:
    """Some rows of a table, and the types of the columns that all folders key=value add to it.

    `version` changes with the content and order of the part's files, and with the folders' keys.
    `draw` is the digest of the rows that a size draws from a train table. `delimiter` separates the
    values of CSV files; None: a tab in TSV files, else a comma.
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
    """A part's number as written in file names: 007."""
    return f"{number:03}"


def read_parts(path: Path) -> Listing:
    """The listing in a JSON file; raises UserError if the file is damaged."""
    return read_json(path, _LISTING.validate_python, kind="parts.json")


def cut(
    group_rows: Sequence[Sequence[int]], rows: int, whole: Collection[int] = ()
) -> list[list[tuple[int, int, int]]]:
    """Cut files, given the rows of their row groups, into parts of about `rows` rows.

    Files whose numbers are in `whole` are not cut. A part is a list of (file number, first row,
    end); files without rows are in no part. A group of small files ends where its size is nearest
    to `rows`, so a file that becomes a little longer does not move later bounds.
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
    """The rows at which a file is cut, with 0 and its end: a row group's end if one is near."""
    ends = np.cumsum([0, *group_rows])
    total = int(ends[-1])
    count = round(total / rows) or 1
    bounds = {0, total}
    for wanted in (total * i // count for i in range(1, count)):
        nearest = int(ends[np.abs(ends - wanted).argmin()])
        bounds.add(nearest if abs(nearest - wanted) <= rows / 2 else wanted)
    return sorted(bounds)
