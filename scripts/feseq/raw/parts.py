"""Parts of a raw table: ranges of its rows, each converted by a job of its own.

Small files make a part together; a large one is cut between its row groups, and within one that is
large itself. A part changes with its own files alone, so one that is replaced leaves all other
parts as they are:

    files of 2, 1, 1 and 9 rows, in parts of about 4:   [2 1 1] [5 of 9] [4 of 9]
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..common.errors import UserError
from ..common.files import read_json


@dataclass(frozen=True)
class Piece:
    """The rows of a part that lie in one file.

    `number` is the file's place in the table. `groups` are its row groups from one to another (not
    included), and `inside` the rows of these; None: all.
    """

    number: int
    file: str
    version: str
    rows: int
    groups: tuple[int, int] | None = None
    inside: tuple[int, int] | None = None


@dataclass(frozen=True)
class Part:
    """Some rows of a table, and the types of the columns that folders give in all of the table.

    `version` changes with the content of its files, their order, their row groups and the folders'
    keys; `draw`, of a train table, with which of its rows a size has drawn.
    """

    version: str
    rows: int
    key_types: Mapping[str, str]
    pieces: Sequence[Piece]
    draw: str = ""


@dataclass(frozen=True)
class Listing:
    """All parts of a table in the order of its rows; `table` is its name."""

    table: str
    rows: int
    parts: Sequence[Part]

    def as_json(self) -> dict[str, Any]:
        """What `read_parts` reads."""
        return asdict(self)

    def __getitem__(self, number: int) -> Part:
        """The part of a number; raises UserError if there is none."""
        if not 0 <= number < len(self.parts):
            last = part_name(len(self.parts) - 1)
            raise UserError(
                f"{self.table}: there is no part {part_name(number)}, only {part_name(0)} to {last}"
            )
        return self.parts[number]


def part_name(number: int) -> str:
    """A part's number as file names have it: 007."""
    return f"{number:03}"


def read_parts(path: Path) -> Listing:
    """The listing that a JSON file holds; raises UserError if it is damaged."""
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


# Each job of a part asks for it.
@lru_cache(maxsize=4)
def _read(path: Path, *state: int) -> Listing:
    return read_json(path, _listing)


def _listing(content: dict[str, Any]) -> Listing:
    parts = [
        Part(**{**part, "pieces": [_piece(**piece) for piece in part["pieces"]]})
        for part in content["parts"]
    ]
    return Listing(**{**content, "parts": parts})


def _piece(groups: list[int] | None, inside: list[int] | None = None, **values: Any) -> Piece:
    def as_range(pair: list[int] | None) -> tuple[int, int] | None:
        return (pair[0], pair[1]) if pair else None

    return Piece(groups=as_range(groups), inside=as_range(inside), **values)


@dataclass(frozen=True)
class FileRows:
    """What is asked of a file to cut a table: the keys of its folders, and rows by row group."""

    file: str
    version: str
    keys: Mapping[str, str | None]
    group_rows: Sequence[int]


def cut(files: Sequence[FileRows], rows: int, key_types: Mapping[str, str]) -> list[Part]:
    """Parts of about `rows` rows; files without rows are in none.

    A group of small files ends where it is nearest to that, so another file that is a little
    longer moves no bounds behind it.
    """
    parts: list[Part] = []
    waiting: list[Piece] = []

    def close() -> None:
        if waiting:
            parts.append(_part(waiting, files, key_types))
            waiting.clear()

    for number, file in enumerate(files):
        count = sum(file.group_rows)
        if count > rows or sum(piece.rows for piece in waiting) + count / 2 > rows:
            close()
        ranges = _ranges(file.group_rows, round(count / rows) or 1)
        for groups in ranges:
            own = groups if len(ranges) > 1 else None
            for inside in _within(file.group_rows[slice(*groups)], rows):
                found = inside[1] - inside[0]
                if found:
                    whole = found == sum(file.group_rows[slice(*groups)])
                    of_groups = (own, None if whole else inside)
                    waiting.append(Piece(number, file.file, file.version, found, *of_groups))
                if count > rows:
                    close()
    close()
    return parts


def _ranges(group_rows: Sequence[int], count: int) -> list[tuple[int, int]]:
    """A file's row groups in about `count` ranges of about equally many rows."""
    ends = np.cumsum(group_rows)
    wanted = [ends[-1] * i / count for i in range(1, count)] if len(ends) else []
    inner = {1 + int(np.abs(ends - end).argmin()) for end in wanted}
    return list(pairwise(sorted({0, *inner, len(group_rows)})))


def _within(group_rows: Sequence[int], rows: int) -> list[tuple[int, int]]:
    """Ranges of the rows of some row groups: several only where it is one group and that large."""
    total, has_rows = sum(group_rows), sum(map(bool, group_rows))
    count = round(total / rows) or 1 if has_rows == 1 else 1
    return list(pairwise(total * i // count for i in range(count + 1)))


def _part(pieces: Sequence[Piece], files: Sequence[FileRows], types: Mapping[str, str]) -> Part:
    said = [(files[p.number].keys, p.version, p.groups, p.inside) for p in pieces]
    version = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]
    return Part(version, sum(piece.rows for piece in pieces), types, list(pieces))
