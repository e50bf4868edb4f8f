"""Several H5 files as one table, in which the rows of each are spread evenly."""

import hashlib
import resource
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
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
# Rows of a block: some hundred or thousand of each file.
_BLOCK_ROWS = 32_768
# Files that a process has open beside these.
_OTHER_FILES = 256


@dataclass(frozen=True)
class Spread:
    """Rows of several files: row i of n stands at (i + 1/2) / n of the whole, ties in file order.

    `first` and `rows` int64 [files]: the rows of each file that take part. So a row's place is
    found without a list of all rows, and any stretch of rows has its share of each file.
    """

    first: np.ndarray
    rows: np.ndarray

    @classmethod
    def over(cls, rows: Iterable[int]) -> "Spread":
        """All rows of files that have so many."""
        counts = np.array([*rows], np.int64)
        return cls(np.zeros_like(counts), counts)

    def __len__(self) -> int:
        return int(self.rows.sum())

    def find(self, start: int, stop: int) -> tuple[list[tuple[int, int, int]], np.ndarray]:
        """Where rows start to stop are: file and range of its rows, and the place of each row.

        Row i of all ranges together is row start + place[i].
        """
        ends = (self._before(start), self._before(stop))
        ranges, at = [], [np.empty(0, np.int64)]
        for file, (begin, end) in enumerate(zip(*(end.tolist() for end in ends))):
            if begin < end:
                first = int(self.first[file])
                ranges.append((file, first + begin, first + end))
                at.append((2 * np.arange(begin, end) + 1) * _STEPS // (2 * self.rows[file]))
        place = np.empty(stop - start, np.int64)
        place[np.argsort(np.concatenate(at), kind="stable")] = np.arange(stop - start)
        return ranges, place

    def _before(self, row: int) -> np.ndarray:
        """How many of the rows before this one are of each file."""
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
        """Rows of each file whose place is before a step."""
        return np.clip((2 * self.rows * step + _STEPS - 1) // (2 * _STEPS), 0, self.rows)


class MixedTable(H5Table):
    """The rows of several files, `tables`, those of each spread evenly over the whole.

    Each file is shuffled, so any stretch of rows is a fair sample of all. Rows that only judge come
    behind the others, as in each file. With two `kinds` of files, those of the train and then those
    of the validation rows, they are among the others. Rows are numbered through the raw table.

        rows of files of 4 and 2 rows:   a0 b0 a1 a2 b1 a3
    """

    def __init__(self, tables: Sequence[H5Table], path: Path, kinds: int = 1) -> None:
        self.tables, self.path, self._kinds = tables, path, kinds
        self.file = tables[0].file
        self.numeric_columns = tables[0].numeric_columns
        self.categorical_columns = tables[0].categorical_columns
        self.sequence_columns = tables[0].sequence_columns
        self._check_columns()
        *first_rows, all_rows = np.cumsum(
            [0, *(int(table.source.get("rows", 0)) for table in tables[: len(tables) // kinds])]
        ).tolist()
        self._first_rows = first_rows * kinds
        self.source = tables[0].source | {"rows": all_rows}
        rows = np.array([table.rows for table in tables])
        choosing = np.array([table.choosing_rows for table in tables]) if kinds == 1 else rows
        self.rows, self.choosing_rows = int(rows.sum()), int(choosing.sum())
        self._spreads = (Spread.over(choosing), Spread(choosing, rows - choosing))
        self._join_vocabularies()

    @property
    def identity(self) -> str:
        """What the files were made from: equal for the train and the valid files of one draw."""
        parts = [table.identity for table in self.tables]
        if self._kinds > 1:
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

    def blocks(
        self, block_rows: int = _BLOCK_ROWS, sequences_of: Sequence[str] | None = None
    ) -> Iterator[Block]:
        """All rows in order, `block_rows` at a time, as `read` gives them."""
        return super().blocks(block_rows, sequences_of)

    def close(self) -> None:
        """Close all files."""
        for table in self.tables:
            table.close()

    def _find(self, start: int, stop: int) -> tuple[list[tuple[int, int, int]], np.ndarray]:
        """Where rows start to stop are, as `Spread.find` says it."""
        ranges: list[tuple[int, int, int]] = []
        places, found_rows, first = [], 0, 0
        for spread in self._spreads:
            begin, end = (min(max(row - first, 0), len(spread)) for row in (start, stop))
            found, place = spread.find(begin, end)
            ranges += found
            places.append(place + found_rows)
            first, found_rows = first + len(spread), found_rows + len(place)
        return ranges or [(0, 0, 0)], np.concatenate(places)

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
            # The first entry stands for missing, and is no word.
            places = [
                [
                    0,
                    *(
                        codes.setdefault(word, len(codes) + 1)
                        for word in table.vocabulary(name)[1:]
                    ),
                ]
                for table in self.tables
            ]
            self._vocabularies[name] = ["", *codes]
            for file, place in enumerate(places):
                code_of[file].append(np.array(place, np.min_scalar_type(len(codes))))
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
    if isinstance(files, Path):
        return H5Table(files)
    return H5Table(files[0]) if len(files) == 1 else open_mixed([files])


def open_mixed(tables: Sequence[Files]) -> MixedTable:
    """All rows of some tables as one; they are of one draw, or UserError is raised."""
    with ExitStack() as stack:
        each = [[files] if isinstance(files, Path) else [*files] for files in tables]
        _allow_open_files(sum(map(len, each)))
        opened = [[stack.enter_context(H5Table(path)) for path in paths] for paths in each]
        for parts in zip(*opened):
            for other in parts:
                if other.identity != parts[0].identity:
                    raise of_other_draw(parts[0].path, other.path)
        path = each[0][0].parent if len(each[0]) > 1 else each[0][0]
        mixed = MixedTable([t for parts in opened for t in parts], path, len(each))
        stack.pop_all()
    return mixed


def _allow_open_files(count: int) -> None:
    """Let the process have so many files open; raises UserError if the system does not."""
    allowed, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _OTHER_FILES
    if allowed >= needed:
        return
    if needed > at_most:
        raise UserError(
            f"a table in {count:,} files needs as many open at once, and the system allows a "
            f"process {at_most:,}: raise parts.rows, which makes fewer of them, or the limit "
            f"(ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, at_most))
