"""The chosen rows of one size: the draw writes them, and the conversion reads them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..common.errors import UserError
from ..common.files import whole_file, written_beside

# The sides of a draw, and their numbers: rows that a model learns from; rows that are held out to
# choose epoch, settings and weights, and to measure on.
SIDES = ("train", "validation")
TRAIN, VALIDATION = 0, 1

# The file calls the side `part`.
_SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "part": pa.int8(),
        "position": pa.int64(),
        "period": pa.uint8(),
        "fold": pa.uint8(),
    }
)


@dataclass(frozen=True)
class Selection:
    """Chosen rows of one part of the raw table, in its order.

    `row` int64: number in that part. `side` int8: TRAIN or VALIDATION. `position` int64: the order
    of the rows in their side's H5 file, a random permutation. `period` uint8: which of a few spans
    of time the row is from, 0 the oldest; 0 if no time is known. `fold` uint8: which of a few folds
    of groups the row's group is in; 0 if none is known.
    """

    row: np.ndarray
    side: np.ndarray
    position: np.ndarray
    period: np.ndarray
    fold: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def digest(self) -> str:
        """A digest of all arrays."""
        arrays = (array.tobytes() for array in vars(self).values())
        return hashlib.sha256(b"".join(arrays)).hexdigest()[:16]

    @classmethod
    def read(cls, path: Path, number: int = 0, digest: str | None = None) -> "Selection":
        """The rows of the part of this number; raises UserError if `digest` is another one."""
        with whole_file(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            if number >= file.num_row_groups or file.schema_arrow.names != _SCHEMA.names:
                raise KeyError(f"row group {number} of {file.num_row_groups}")
            table = file.read_row_group(number).cast(_SCHEMA)
            table.validate(full=True)
        selection = cls(*(column.to_numpy() for column in table.columns))
        if digest not in (None, selection.digest):
            raise UserError(
                f"{path}: was drawn for other parts of the raw table than those listed; delete it "
                f"and run snakemake again"
            )
        return selection


def write_selections(selections: Iterable[Selection], path: Path) -> list[str]:
    """Write the selections of all parts, each as a row group; return their digests."""
    digests = []
    with (
        written_beside(path) as temporary,
        pq.ParquetWriter(temporary, _SCHEMA, write_page_checksum=True) as writer,
    ):
        for selection in selections:
            digests.append(selection.digest)
            table = pa.table([*vars(selection).values()], schema=_SCHEMA)
            writer.write_table(table, row_group_size=len(table) or None)
    return digests
