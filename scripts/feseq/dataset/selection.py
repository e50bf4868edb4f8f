"""The chosen rows of one size, as drawing them leaves them and the conversion reads them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.parquet import marks_of, read_table, write_table

_COLUMNS = ("row", "is_valid", "position")


@dataclass(frozen=True)
class Selection:
    """Chosen rows, in file order.

    `row` int64: number in the raw file. `is_valid` bool: in valid.h5, else in train.h5.
    `position` int64: place within its H5 file; a random permutation, so that a file sorted by day
    becomes one that can be trained on in order. `raw` is the raw file's fingerprint, '' if unknown.
    """

    row: np.ndarray
    is_valid: np.ndarray
    position: np.ndarray
    raw: str = ""

    def write(self, path: Path) -> None:
        """Write as parquet, beside the target first."""
        table = pa.table({name: getattr(self, name) for name in _COLUMNS})
        write_table(table, path, {"raw": self.raw})

    @classmethod
    def read(cls, path: Path) -> "Selection":
        """Read what `write` wrote."""
        table = read_table(path, _COLUMNS)
        row, is_valid, position = (table[name].to_numpy() for name in _COLUMNS)
        return cls(row, is_valid, position, marks_of(table).get("raw", ""))
