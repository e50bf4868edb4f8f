"""The chosen rows of one size, as drawing them leaves them and the conversion reads them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..common.parquet import marks_of, read_table, write_table

# The parts of a data set: rows that are learned from; held-out rows by which epoch, settings and
# weights are chosen; held-out rows that choose nothing. In valid.h5 the last follow the second.
TRAIN, CHOOSE, JUDGE = 0, 1, 2

_COLUMNS = ("row", "part", "position")


@dataclass(frozen=True)
class Selection:
    """Chosen rows, in file order.

    `row` int64: number in the raw file. `part` int8: TRAIN (train.h5), CHOOSE or JUDGE (valid.h5).
    `position` int64: place within its H5 file; a random permutation of each part, so that a file
    sorted by day becomes one that can be trained on in order. `raw` is the raw file's version, ''
    if unknown; `path` is the file that it was read from.
    """

    row: np.ndarray
    part: np.ndarray
    position: np.ndarray
    raw: str = ""
    path: Path | None = None

    @property
    def is_valid(self) -> np.ndarray:
        """True for rows of valid.h5, bool [rows]."""
        return self.part != TRAIN

    @classmethod
    def placed(cls, row: np.ndarray, part: np.ndarray, random: np.random.Generator) -> "Selection":
        """Rows in any order, each with its part, put in file order and given random places."""
        order = np.argsort(row)
        row, part = row[order], part[order]
        position = np.empty(len(row), np.int64)
        first = 0
        for number in (TRAIN, CHOOSE, JUDGE):
            rows = int(np.count_nonzero(part == number))
            position[part == number] = first + random.permutation(rows)
            first = 0 if number == TRAIN else first + rows
        return cls(row, part, position)

    def write(self, path: Path, raw: str = "") -> None:
        """Write as parquet, beside the target first; `raw` is the raw file's version."""
        table = pa.table({name: getattr(self, name) for name in _COLUMNS})
        write_table(table, path, {"raw": raw or self.raw})

    @classmethod
    def read(cls, path: Path) -> "Selection":
        """Read what `write` wrote."""
        table = read_table(path, _COLUMNS)
        row, part, position = (table[name].to_numpy() for name in _COLUMNS)
        return cls(row, part, position, marks_of(table).get("raw", ""), path)

    def check_drawn_from(self, location: object, rows: int, version: str) -> None:
        """Raise UserError if it was drawn from another raw file, or from one since replaced."""
        too_long = self.row[-1] >= rows
        if too_long or self.raw != version:
            found = f"holds row {self.row[-1]}" if too_long else "was drawn from another file"
            raise UserError(
                f"{self.path}: {found}, and {location} has {rows} rows; delete the selection and "
                f"run snakemake again"
            )
