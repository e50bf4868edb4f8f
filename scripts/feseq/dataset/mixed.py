"""H5 files as one table, in which the rows of each stretch of each file are spread evenly."""

import hashlib
import resource
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..common.errors import UserError
from ..common.ragged import merged
from .block import Block
from .store import H5Table, of_other_draw

# One H5 file, or the files of all parts of a table.
Files = Path | Sequence[Path]

# Places in a table from 0 to 1 are counted in so many steps, as integers do not round.
_STEPS = 1 << 31
# Stretches that are spread together. A window reads from so many, or twice as many where it reaches
# from one group into the next; looking into a file takes a while, however few rows are read.
SPREAD_TOGETHER = 64
_GROUPS_SEED = 1
# Files that a process has open beside those of a table, and at most.
_OTHER_FILES, _MOST_FILES = 64, 1 << 20


# Where some rows are: ranges of the rows of stretches, each with its stretch's number, and the
# place of each row: row i of all ranges together is row place[i] of those asked for.
Found = tuple[list[tuple[int, int, int]], np.ndarray]


@dataclass(frozen=True)
class Spread:
    """Rows of several stretches: row i of n stands at (i + 1/2) / n of the whole, ties in order.

    `first` and `rows` int64 [stretches]: the rows of each that take part. So a row's place is found
    without a list of all rows, and any rows that follow each other have their share of each.
    """

    first: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return int(self.rows.sum())

    def find(self, start: int, stop: int) -> Found:
        """Where rows start to stop are."""
        ends = (self._before(start), self._before(stop))
        ranges, at = [], [np.empty(0, np.int64)]
        for number, (begin, end) in enumerate(zip(*(end.tolist() for end in ends))):
            if begin < end:
                first = int(self.first[number])
                ranges.append((number, first + begin, first + end))
                at.append((2 * np.arange(begin, end) + 1) * _STEPS // (2 * self.rows[number]))
        place = np.empty(stop - start, np.int64)
        place[np.argsort(np.concatenate(at), kind="stable")] = np.arange(stop - start)
        return ranges, place

    def _before(self, row: int) -> np.ndarray:
        """How many of the rows before this one are of each stretch."""
        # The last step up to whose begin there are no more rows.
        low, high = 0, _STEPS
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if self._up_to(middle).sum() <= row else (low, middle)
        before = self._up_to(low)
        in_step = np.flatnonzero(self._up_to(low + 1) > before)
        before[in_step[: row - before.sum()]] += 1
        return before

    def _up_to(self, step: int) -> np.ndarray:
        """Rows of each stretch whose place is before a step."""
        return np.clip((2 * self.rows * step + _STEPS - 1) // (2 * _STEPS), 0, self.rows)


class Order:
    """The order of the rows of stretches, each given as its rows and how many of them choose.

    First all rows that choose, then those that only judge. More than SPREAD_TOGETHER stretches are
    drawn into groups, of which one follows the other. So a window reads from some stretches at a
    time, which are from all over the raw table.
    """

    def __init__(self, stretches: Sequence[tuple[int, int]]) -> None:
        rows, choosing = np.array(stretches, np.int64).T
        self.rows, self.choosing_rows = int(rows.sum()), int(choosing.sum())
        groups = -(-len(rows) // SPREAD_TOGETHER)
        # One of those that follow each other goes to each group, so that all have of all times.
        random = np.random.default_rng(_GROUPS_SEED)
        drawn = [random.permutation(groups) for _ in range(0, len(rows), groups)]
        group = np.concatenate(drawn)[: len(rows)]
        self._spreads = [
            Spread(begin, np.where(group == number, count, 0))
            for begin, count in ((np.zeros_like(rows), choosing), (choosing, rows - choosing))
            for number in range(groups)
        ]

    def find(self, start: int, stop: int) -> Found:
        """Where rows start to stop are."""
        ranges: list[tuple[int, int, int]] = []
        places, found_rows, first = [np.empty(0, np.int64)], 0, 0
        for spread in self._spreads:
            begin, end = (min(max(row - first, 0), len(spread)) for row in (start, stop))
            if begin < end:
                found, place = spread.find(begin, end)
                ranges += found
                places.append(place + found_rows)
                found_rows += len(place)
            first += len(spread)
        return ranges or [(0, 0, 0)], np.concatenate(places)


class MixedTable(H5Table):
    """The rows of files, `tables`, those of each of their stretches spread evenly (see `Order`).

    Each stretch is shuffled. Rows that only judge come behind the others. Rows are numbered through
    the raw table.

    The files are those of `parts` parts; where there are twice as many, those of the train rows are
    followed by those of the validation rows, of which none come last.

        rows of stretches of 4 and 2 rows:   a0 b0 a1 a2 b1 a3
    """

    # Some hundred or thousand rows of each stretch.
    block_rows = 32_768

    def __init__(self, tables: Sequence[H5Table], path: Path, parts: int) -> None:
        self.tables, self.path, self._has_all = tables, path, len(tables) > parts
        self.file = tables[0].file
        self.numeric_columns = tables[0].numeric_columns
        self.categorical_columns = tables[0].categorical_columns
        self.sequence_columns = tables[0].sequence_columns
        self._check_columns()
        *first_rows, all_rows = np.cumsum(
            [0, *(int(table.source.get("rows", 0)) for table in tables[:parts])]
        ).tolist()
        self._first_rows = first_rows * (len(tables) // parts)
        self.source = tables[0].source | {"rows": all_rows}
        stretches, self._begins = [], []
        for file, table in enumerate(tables):
            first = 0
            for rows, choosing in table.stretches:
                stretches.append((rows, rows if self._has_all else choosing))
                self._begins.append((file, first))
                first += rows
        self._order = Order(stretches)
        self.rows, self.choosing_rows = self._order.rows, self._order.choosing_rows
        self.stretches = [(self.rows, self.choosing_rows)]
        self._join_vocabularies()

    @property
    def identity(self) -> str:
        """What the files were made from: equal for the train and the valid files of one draw."""
        parts = [table.identity for table in self.tables]
        if len(parts) == 1:
            return parts[0]
        if self._has_all:
            # Another one than that of either, as what is fitted to all rows is no part's.
            parts.append("all rows")
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def vocabulary(self, column: str) -> list[str]:
        """Raw strings by code; entry 0 stands for missing."""
        return self._vocabularies[column]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of `label`, `id`, `row` or `categorical`."""
        ranges, place = self._find(start, self.rows if stop is None else stop)
        parts = []
        for file, first, last in ranges:
            values = self.tables[file].column(name, first, last)
            if name == "categorical":
                values = self._recoded(file, values)
            parts.append(values + self._first_rows[file] if name == "row" else values)
        return merged(parts, place)

    def lengths(self, sequence: str) -> np.ndarray:
        """Events of every row in a sequence column."""
        lengths = [table.lengths(sequence) for table in self.tables]
        ranges, place = self._find(0, self.rows)
        return merged([lengths[file][start:stop] for file, start, stop in ranges], place)

    def read(self, start: int, stop: int, sequences_of: Sequence[str] | None = None) -> Block:
        """Rows start to stop (not included) as one block, with all sequences or those named."""
        ranges, place = self._find(start, stop)
        blocks = []
        for file, first, last in ranges:
            block = self.tables[file].read(first, last, sequences_of)
            codes = self._recoded(file, block.categorical)
            row = block.row + self._first_rows[file]
            blocks.append(replace(block, categorical=codes, row=row))
        return Block.merged(blocks, place)

    def close(self) -> None:
        """Close all files."""
        for table in self.tables:
            table.close()

    def _find(self, start: int, stop: int) -> Found:
        """Where rows start to stop are; the ranges are of files and their rows."""
        ranges, place = self._order.find(start, stop)
        found = []
        for number, begin, end in ranges:
            file, first = self._begins[number]
            found.append((file, first + begin, first + end))
        return found, place

    def _recoded(self, file: int, codes: np.ndarray) -> np.ndarray:
        """Codes [rows, K] of a file as those of the table."""
        code_of = self._codes[file]
        if code_of is None:
            return codes
        return np.stack([column[codes[:, i]] for i, column in enumerate(code_of)], axis=1)

    def _join_vocabularies(self) -> None:
        """One vocabulary for each column, and for each file the code of each of its own codes."""
        self._vocabularies: dict[str, list[str]] = {}
        code_of: list[list[np.ndarray]] = [[] for _ in self.tables]
        for name in self.categorical_columns:
            codes: dict[str, int] = {}
            words = [table.vocabulary(name) for table in self.tables]
            # The first entry stands for missing, and is no word.
            places = [
                [codes.setdefault(w, len(codes) + 1) for w in of_file[1:]] for of_file in words
            ]
            self._vocabularies[name] = ["", *codes]
            for file, place in enumerate(places):
                code_of[file].append(np.array([0, *place], np.min_scalar_type(len(codes))))
        is_same = [all((np.diff(c) == 1).all() for c in of_file) for of_file in code_of]
        self._codes = [None if same else c for same, c in zip(is_same, code_of)]

    def _check_columns(self) -> None:
        first = self.tables[0]
        for table in self.tables:
            kinds = ("numeric_columns", "categorical_columns", "sequence_columns", "has_times")
            if any(getattr(table, kind) != getattr(first, kind) for kind in kinds):
                raise of_other_draw(first.path, table.path)


def open_files(files: Files) -> H5Table:
    """The table that is one file or several."""
    mixed = open_mixed([files])
    first, *others = mixed.tables
    return mixed if others or len(first.stretches) > 1 else first


def open_mixed(tables: Sequence[Files]) -> MixedTable:
    """All rows of some tables as one; they are of one draw, or UserError is raised."""
    each = [[files] if isinstance(files, Path) else [*files] for files in tables]
    paths = [path for files in each for path in files]
    if not all(each):
        raise UserError("no H5 files are given; name those of all parts of a table")
    parts = len(each[0])
    if any(len(files) != parts for files in each):
        named = " and ".join(f"{len(files)} of {files[0].parent}" for files in each)
        raise UserError(f"H5 files are given for other parts ({named}); name those of all parts")
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise UserError(f"{twice[0]}: is given twice; name each file of a table once")
    _allow_open_files(len(paths))
    with ExitStack() as stack:
        opened = [stack.enter_context(H5Table(path)) for path in paths]
        for number, other in enumerate(opened):
            if other.identity != opened[number % parts].identity:
                raise of_other_draw(opened[number % parts].path, other.path)
        mixed = MixedTable(opened, paths[0].parent if parts > 1 else paths[0], parts)
        stack.pop_all()
    return mixed


def _allow_open_files(count: int) -> None:
    """Let the process have as many files open as the system allows; raises UserError if too few."""
    allowed, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    at_most = _MOST_FILES if hard == resource.RLIM_INFINITY else hard
    if count > at_most - _OTHER_FILES:
        raise UserError(
            f"a table in {count:,} files needs as many open at once, and the system allows a "
            f"process {at_most:,}: raise parts.rows, which makes fewer of them, or the limit "
            f"(ulimit -Hn)"
        )
    if allowed < at_most:
        # Some systems allow less than they say.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (at_most, hard))
