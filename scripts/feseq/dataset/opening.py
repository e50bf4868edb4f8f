"""Which rows a step reads, and the table that they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .mixed import Files, open_files, open_mixed
from .store import H5Table


@dataclass(frozen=True)
class AllRows:
    """The train and the validation rows of one draw, mixed."""

    train: Files
    valid: Files


# Where rows are: the files of a table, those of two, or an open table.
Rows = Path | Sequence[Path] | AllRows | H5Table


def open_table(rows: Rows) -> H5Table:
    """The table of these rows."""
    if isinstance(rows, H5Table):
        return rows
    if isinstance(rows, AllRows):
        return open_mixed([rows.train, rows.valid])
    return open_files(rows)


def train_rows(train: Files, valid: Files, replay: Path | None) -> Rows:
    """The rows of a training: the train rows; where it follows another one, all rows."""
    return AllRows(train, valid) if replay else train
