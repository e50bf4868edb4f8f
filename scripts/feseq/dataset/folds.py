"""The folds of a train table, and the rows of it that a fold trains on or predicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.parquet import metadata_of, read_table, write_table
from .block import Block
from .mixed import Files, open_files
from .store import H5Table, of_other_draw

_COLUMNS = ("row", "fold", "is_predicted")
# Rows of the file that are read at a time, at most.
_READ_ROWS = 131_072


@dataclass(frozen=True)
class Folds:
    """The folds of a size's train rows, in the order of its train table.

    `row` int64: number in the raw table. `fold` int16 from 1. `is_predicted` bool: false for rows
    that are only trained on. A fold's model is trained on all other folds; if `forward`, on those
    of lower numbers alone, and fold 0 is the oldest rows, which nothing can predict.
    """

    row: np.ndarray
    fold: np.ndarray
    is_predicted: np.ndarray
    forward: bool

    def trains(self, fold: int) -> np.ndarray:
        """True for the rows that the fold's model is trained on, bool [rows]."""
        return self.fold < fold if self.forward else self.fold != fold

    def predicts(self, fold: int | None = None) -> np.ndarray:
        """True for the rows that it predicts, or with None for those of all folds."""
        return self.is_predicted if fold is None else self.is_predicted & (self.fold == fold)

    def write(self, path: Path) -> None:
        """Write as parquet, beside the target first."""
        table = pa.table({name: getattr(self, name) for name in _COLUMNS})
        write_table(table, path, {"forward": str(self.forward)})

    @classmethod
    def read(cls, path: Path) -> "Folds":
        """Read what `write` wrote."""
        table = read_table(path, _COLUMNS)
        row, fold, is_predicted = (table[name].to_numpy(zero_copy_only=False) for name in _COLUMNS)
        return cls(row, fold, is_predicted, metadata_of(table).get("forward") == "True")


@dataclass(frozen=True)
class FoldRows:
    """Rows of the train table in the files `h5`, by its `folds`.

    Those that a fold predicts, or with None all folds; if `training`, those that the fold's model
    is trained on.
    """

    h5: Files
    folds: Path
    fold: int | None = None
    training: bool = False

    def open(self) -> "SomeRows":
        """These rows as a table; raises UserError if the folds are those of another file."""
        folds, table = Folds.read(self.folds), open_files(self.h5)
        if not np.array_equal(folds.row, table.column("row")):
            table.close()
            raise of_other_draw(self.folds, table.path)
        if self.fold is not None and self.training:
            return SomeRows(table, folds.trains(self.fold))
        return SomeRows(table, folds.predicts(self.fold))


class SomeRows(H5Table):
    """Some rows of a table, `chosen` bool [its rows], in its order.

    That is shuffled, and so are they.
    """

    def __init__(self, whole: H5Table, chosen: np.ndarray) -> None:
        self.whole, self.places = whole, np.flatnonzero(chosen)
        self.path, self.file, self.source = whole.path, whole.file, whole.source
        self.numeric_columns = whole.numeric_columns
        self.categorical_columns = whole.categorical_columns
        self.sequence_columns = whole.sequence_columns
        self.rows = self.choosing_rows = len(self.places)

    def close(self) -> None:
        """Close the whole table."""
        self.whole.close()

    @property
    def identity(self) -> str:
        """That of the whole table."""
        return self.whole.identity

    def vocabulary(self, column: str) -> list[str]:
        """Raw strings by code; entry 0 stands for missing."""
        return self.whole.vocabulary(column)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of `label`, `row` or `categorical`."""
        places = self.places[start:stop]
        first, last = (places[0], places[-1] + 1) if len(places) else (0, 0)
        return self.whole.column(name, int(first), int(last))[places - first]

    def lengths(self, sequence: str) -> np.ndarray:
        """Events of every row in a sequence column."""
        return self.whole.lengths(sequence)[self.places]

    def read(self, start: int, stop: int, sequences_of: Sequence[str] | None = None) -> Block:
        """Rows start to stop (not included) as one block, with all sequences or those named."""
        places = self.places[start:stop]
        first, last = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
        if last - first > _READ_ROWS and len(places) > 1:
            middle = start + len(places) // 2
            halves = ((start, middle), (middle, stop))
            return Block.joined([self.read(*half, sequences_of) for half in halves])
        return self.whole.read(first, last, sequences_of).take(places - first)
