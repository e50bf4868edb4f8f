"""Parts of a raw table: ranges of rows, each converted by one job.

Small files are combined into a part. A large file is cut between its row groups, or within large
row groups. Files of 2, 1, 1 and 9 rows, in parts of about 4 rows:

    [2 1 1] [first 4 of 9] [last 5 of 9]
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
    """Rows `start` to `stop` (exclusive) of a file; `version` is a digest of the file's content."""

    file: str
    version: str
    start: int
    stop: int


@dataclass(frozen=True)
class Part:
    """One part of a raw table: ranges of rows (`pieces`) of its files.

    version      a digest of the content and order of the files, and of their folders key=value
    rows         the number of rows
    key_types    the types of the columns from folders key=value, by column
    draw         in a train table, the digest of the rows that were drawn from the part
    delimiter    between the values of CSV files; None: a tab in TSV files, a comma in CSV files
    """

    version: str
    rows: int
    key_types: Mapping[str, str]
    pieces: Sequence[FileSlice]
    draw: str = ""
    delimiter: str | None = None


@dataclass(frozen=True)
class PartList:
    """All parts of a raw table, in row order; `table` is the table's name, `rows` its row count."""

    table: str
    rows: int
    parts: Sequence[Part]


_LISTING = TypeAdapter(PartList)


def part_name(number: int) -> str:
    """A part's number as in file names: 7 becomes 007."""
    return f"{number:03}"


def read_part_list(path: Path) -> PartList:
    """Read the list of a table's parts from parts.json; raises UserError if the file is damaged."""
    return read_json(path, _LISTING.validate_python, kind="parts.json")


def cut_files(
    row_group_sizes: Sequence[Sequence[int]], rows: int, unsplittable: Collection[int] = ()
) -> list[list[tuple[int, int, int]]]:
    """Divide the files of a table into parts of about `rows` rows.

    A part is a list of (number of the file, first row, end). `row_group_sizes[i]` has the sizes
    of the row groups of file i. Files whose numbers are in `unsplittable` are not cut; files
    without rows are in no part. Small files in sequence are combined into a part of nearly `rows`
    rows. If a file later gains a few rows, the parts after it mostly stay the same.
    """
    parts: list[list[tuple[int, int, int]]] = [[]]
    waiting = 0  # rows of the last part
    for number, groups in enumerate(row_group_sizes):
        count = sum(groups)
        is_large = count > rows
        if is_large or waiting + count / 2 > rows:
            parts.append([])
            waiting = 0
        bounds = [0, count] if number in unsplittable and count else _bounds(groups, rows)
        for start, stop in pairwise(bounds):
            parts[-1].append((number, start, stop))
            if is_large:
                parts.append([])
        waiting += 0 if is_large else count
    return [part for part in parts if part]


def _bounds(row_group_sizes: Sequence[int], rows: int) -> list[int]:
    """The rows at which a file is cut, including 0 and its end; at row group ends if near."""
    ends = np.cumsum([0, *row_group_sizes])
    total = int(ends[-1])
    count = round(total / rows) or 1
    bounds = {0, total}
    for wanted in (total * i // count for i in range(1, count)):
        nearest = int(ends[np.abs(ends - wanted).argmin()])
        bounds.add(nearest if abs(nearest - wanted) <= rows / 2 else wanted)
    return sorted(bounds)
