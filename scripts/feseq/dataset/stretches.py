"""Where rows lie that are read in another order than they were written in.

The rows of a train file are shuffled over the whole file. As many as fit into memory are put into
that order and written, a stretch of the file, then the next ones. Reading puts stretches together:

    rows 0 to 5 are of the stretches   1 0 0 1 0 1
    in the file are the rows           1 2 4 | 0 3 5
"""

from collections.abc import Callable

import numpy as np

# The rows of each stretch are counted up to every so many rows.
COUNTED_ROWS = 1 << 16


def rows_before(of_row: np.ndarray, stretches: int) -> np.ndarray:
    """How many rows of each stretch are before row 0, COUNTED_ROWS, ..., and in all.

    `of_row` is the stretch of each row; int64 [counts, stretches].
    """
    starts = range(0, len(of_row), COUNTED_ROWS)
    blocks = (of_row[start : start + COUNTED_ROWS] for start in starts)
    counts = [np.bincount(block, minlength=stretches) for block in blocks]
    return np.cumsum([np.zeros(stretches, np.int64), *counts], axis=0)


class Stretches:
    """Finds the rows of a file; `of_row(start, stop)` gives the stretches of some rows.

    `before` as `rows_before` made it. Raises ValueError if they do not belong to `rows` rows.
    """

    def __init__(
        self, of_row: Callable[[int, int], np.ndarray], before: np.ndarray, rows: int
    ) -> None:
        self.of_row, self.before = of_row, before
        shape = (-(-rows // COUNTED_ROWS) + 1, before.shape[-1])
        if before.shape != shape or before[-1].sum() != rows or (np.diff(before, axis=0) < 0).any():
            raise ValueError("the rows of its stretches are not counted right")
        self.starts = np.cumsum(before[-1]) - before[-1]

    def find(self, start: int, stop: int) -> tuple[list[tuple[int, int]], np.ndarray]:
        """Where rows start to stop lie: ranges of the file, and the places of the rows in these.

        Row i of all ranges together is row start + place[i].
        """
        of_row = self.of_row(start, stop)
        first = self.starts + self._before(start)
        counts = np.bincount(of_row, minlength=len(first))
        ranges = [(int(a), int(a + n)) for a, n in zip(first, counts, strict=True) if n]
        return ranges or [(0, 0)], np.argsort(of_row, kind="stable")

    def _before(self, row: int) -> np.ndarray:
        counted = row // COUNTED_ROWS
        behind = self.of_row(counted * COUNTED_ROWS, row)
        return self.before[counted] + np.bincount(behind, minlength=len(self.starts))
