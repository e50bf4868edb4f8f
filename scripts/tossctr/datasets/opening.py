"""Opens one or more H5 files as a table."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..common.arrays import GOLDEN
from .store import H5Table
from .table import Block, RowSubset, Table, draw_mismatch_error, reject_test_rows

# Consecutive rows of a file that are read at once: reading them takes as long as seeking.
RUN_ROWS = 512
# One H5 file, or the files of all parts of a table.
Files = Path | Sequence[Path]


class FilesTable(Table):
    """The rows of several files as one table.

    Runs of RUN_ROWS rows alternate between the files, so consecutive runs are an even sample of all
    files. `splits[i]` has the files of one split, such as train rows: one for each part of the raw
    table. Row numbers count across all parts. Raises UserError if the files are from different
    draws of rows.
    """

    def __init__(self, splits: Sequence[Sequence[Table]]) -> None:
        tables = [table for split in splits for table in split]
        first, parts = tables[0], len(splits[0])
        for table in tables:
            if len(splits) > 1:
                reject_test_rows(table)
            if _layout(table) != _layout(first):
                raise draw_mismatch_error(first.path, table.path)
        for split in splits:
            if [table.identity for table in split] != [table.identity for table in splits[0]]:
                raise draw_mismatch_error(first.path, split[0].path)
        *first_rows, raw_rows = np.cumsum([0, *(t.source["rows"] for t in splits[0])]).tolist()
        header = first.as_dict() | {"source": {**first.source, "rows": raw_rows}}
        identities = [table.identity for table in tables]
        if parts > 1:
            header["path"] = first.path.parent
        if len(splits) > 1:
            # Train and validation rows together have another identity than train rows alone.
            identities.append("train and validation")
            header["split"] = ""
        if len(identities) > 1:
            header["identity"] = hashlib.sha256(" ".join(identities).encode()).hexdigest()[:16]
        super().__init__(**header)
        self.tables, self.parts, self.rows = tables, parts, sum(table.rows for table in tables)
        self._first_rows = first_rows * len(splits)
        runs = [
            (file, start, min(start + RUN_ROWS, table.rows))
            for file, table in enumerate(tables)
            for start in range(0, table.rows, RUN_ROWS)
        ]
        order = np.argsort(np.arange(len(runs), dtype=np.uint64) * GOLDEN)
        self._runs = [runs[i] for i in order]
        self._ends = np.cumsum([stop - start for _, start, stop in self._runs])

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        blocks = []
        for file, first, last in self._ranges(start, stop):
            block = self.tables[file].read(first, last, sequences)
            blocks.append(replace(block, row=block.row + self._first_rows[file]))
        return Block.concatenate(blocks)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        pieces = []
        for file, first, last in self._ranges(start, self.rows if stop is None else stop):
            values = self.tables[file].column(name, first, last)
            pieces.append(values + self._first_rows[file] if name == "row" else values)
        return np.concatenate(pieces)

    def vocabulary(self, column: str) -> list[str]:
        """The raw strings of a categorical column in all files, sorted."""
        return sorted(set().union(*(table.vocabulary(column) for table in self.tables)))

    def close(self) -> None:
        for table in self.tables:
            table.close()

    def _ranges(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Rows `start` to `stop` as ranges (file, first, last); without rows, one empty range."""
        if start >= stop:
            yield 0, 0, 0
        number = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            file, first, last = self._runs[number]
            first = last - int(self._ends[number] - start)
            last = min(last, first + stop - start)
            yield file, first, last
            start += last - first
            number += 1


def _layout(table: Table) -> tuple[object, ...]:
    columns = table.numeric_columns, table.categorical_columns, table.sequence_columns
    return (*columns, table.has_times, table.source.get("size"))


@dataclass(frozen=True)
class TrainAndValidation:
    """The files of train rows and of validation rows, to be opened as one table."""

    train: Files
    valid: Files


# One H5 file, whose rows keep their order; the files of a split, or of both; or an open table.
TableSource = Path | Sequence[Path] | TrainAndValidation | Table


def open_table(source: TableSource) -> Table:
    """Open H5 files as one table (see FilesTable); an open table is returned as it is."""
    if isinstance(source, Table):
        return source
    if isinstance(source, Path):
        return H5Table(source)
    splits = [source.train, source.valid] if isinstance(source, TrainAndValidation) else [source]
    with ExitStack() as stack:
        whole = FilesTable(
            [
                [stack.enter_context(H5Table(path)) for path in paths]
                for paths in ([split] if isinstance(split, Path) else split for split in splits)
            ]
        )
        stack.pop_all()
    return whole


def refit_rows(table: Table, seed: int) -> Table:
    """All validation rows of `table`, and equally many random train rows, for a network's refit.

    The table must be opened from a TrainAndValidation.
    """
    assert isinstance(table, FilesTable), "a table of TrainAndValidation"
    lengths = np.diff(table._ends, prepend=0)
    is_train = np.repeat([file < table.parts for file, _, _ in table._runs], lengths)
    train, valid = np.flatnonzero(is_train), np.flatnonzero(~is_train)
    count = min(len(train), len(valid))
    drawn = np.random.default_rng(seed).choice(train, count, replace=False)
    return RowSubset(table, np.sort(np.concatenate([valid, drawn])))
