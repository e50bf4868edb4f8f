"""The train and the valid file of one draw as one table, whose rows are mixed evenly."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .block import Block
from .folds import FoldRows
from .store import H5Table, of_other_draw

# Where rows are: one file, the train and the valid file of one draw, some rows of a train file, or
# a table that is open.
Rows = Path | Sequence[Path] | FoldRows | H5Table


class JoinedTable(H5Table):
    """All rows of two files, each in its own order and spread evenly over the whole.

    Each file is shuffled, so any stretch of rows is a fair sample of both.

        rows of files of 4 and 2 rows:   b0 a0 a1 b1 a2 a3
    """

    def __init__(self, first: Path, second: Path) -> None:
        self.parts = (H5Table(first), H5Table(second))
        one, other = self.parts
        if one.identity != other.identity:
            self.close()
            raise of_other_draw(first, second)
        self.path, self.file, self.source = one.path, one.file, one.source
        self.numeric_columns = one.numeric_columns
        self.categorical_columns = one.categorical_columns
        self.sequence_columns = one.sequence_columns
        self.rows = self.choosing_rows = one.rows + other.rows

    @property
    def identity(self) -> str:
        """Another one than that of either file, as what is fitted to all rows is no part's."""
        return f"all rows of {self.parts[0].identity}"

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of `label`, `row` or `categorical`."""
        stop = self.rows if stop is None else stop
        parts = [part.column(name, *bounds) for part, bounds in self._bounds(start, stop)]
        return np.concatenate(parts)[self._order(start, stop)]

    def read(self, start: int, stop: int, sequences_of: Sequence[str] | None = None) -> Block:
        """Rows start to stop (not included) as one block, with all sequences or those named."""
        parts = [part.read(*bounds, sequences_of) for part, bounds in self._bounds(start, stop)]
        return Block.joined(parts).take(self._order(start, stop))

    def close(self) -> None:
        """Close both files."""
        for part in self.parts:
            part.close()

    def _before(self, row: np.ndarray) -> np.ndarray:
        """How many of the rows before this one are the first file's."""
        return row * self.parts[0].rows // self.rows

    def _bounds(self, start: int, stop: int) -> Iterator[tuple[H5Table, tuple[int, int]]]:
        """What rows start to stop take of each file."""
        ends = np.array([start, stop])
        before = self._before(ends)
        for part, (first, last) in zip(self.parts, (before, ends - before)):
            yield part, (int(first), int(last))

    def _order(self, start: int, stop: int) -> np.ndarray:
        """Places of rows start to stop in the rows of the first file and then the second's."""
        is_first = np.diff(self._before(np.arange(start, stop + 1))) > 0
        order = np.empty(stop - start, np.int64)
        order[is_first] = np.arange(np.count_nonzero(is_first))
        order[~is_first] = np.arange(np.count_nonzero(is_first), stop - start)
        return order


def open_table(rows: Rows) -> H5Table:
    """The table of these rows."""
    if isinstance(rows, H5Table):
        return rows
    if isinstance(rows, FoldRows):
        return rows.open()
    if isinstance(rows, Path):
        return H5Table(rows)
    return H5Table(rows[0]) if len(rows) == 1 else JoinedTable(*rows)


def train_rows(
    train: Path, valid: Path, followed: Path | None, folds: Path | None, fold: int
) -> Rows:
    """The rows of a training: those of the train file, or where it follows an earlier training,
    of both files, or with folds those that one of these is trained on.
    """
    if folds:
        return FoldRows(train, folds, fold, training=True)
    return [train, valid] if followed else train
