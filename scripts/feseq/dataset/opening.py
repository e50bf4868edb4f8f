"""Which rows a step reads, and the table that they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .folds import FoldRows
from .mixed import Files, open_files, open_mixed
from .store import H5Table


@dataclass(frozen=True)
class AllRows:
    """The train and the validation rows of one draw, mixed."""

    train: Files
    valid: Files


# Where rows are: the files of a table, those of two, some rows of a train table, or an open table.
Rows = Path | Sequence[Path] | AllRows | FoldRows | H5Table


def open_table(rows: Rows) -> H5Table:
    """The table of these rows."""
    if isinstance(rows, H5Table):
        return rows
    if isinstance(rows, FoldRows):
        return rows.open()
    if isinstance(rows, AllRows):
        return open_mixed([rows.train, rows.valid])
    return open_files(rows)


def train_rows(
    train: Files, valid: Files, followed: Path | None, folds: Path | None, fold: int
) -> Rows:
    """The rows of a training: the train rows, or where it follows an earlier training, these and
    the validation rows, or with folds those that one of these is trained on.
    """
    if folds:
        return FoldRows(train, folds, fold, training=True)
    return AllRows(train, valid) if followed else train
