"""Rows of a table held in memory, which may be changed there and then read like any others."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .block import Block
from .store import H5Table


class MemoryTable(H5Table):
    """The rows of `block` as a table with the names and vocabularies of the one they are from.

    That one stays open for as long as this is used, and is not closed with it.
    """

    def __init__(self, table: H5Table, block: Block) -> None:
        self.table = table
        self.path, self.file, self.source = table.path, table.file, table.source
        self.numeric_columns = table.numeric_columns
        self.categorical_columns = table.categorical_columns
        self.sequence_columns = table.sequence_columns
        self.block = block
        self.rows = self.choosing_rows = len(block)

    @property
    def identity(self) -> str:
        """That of the other table."""
        return self.table.identity

    def vocabulary(self, column: str) -> list[str]:
        """Raw strings by code; entry 0 stands for missing."""
        return self.table.vocabulary(column)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of `label`, `id`, `row` or `categorical`."""
        return getattr(self.block, name)[start:stop]

    def lengths(self, sequence: str) -> np.ndarray:
        """Events of every row in a sequence column."""
        return self.block.sequences[sequence].lengths

    def read(self, start: int, stop: int, sequences_of: Sequence[str] | None = None) -> Block:
        """Rows start to stop (not included) as one block, with all sequences or those named."""
        names = self.sequence_columns if sequences_of is None else sequences_of
        kept = {name: self.block.sequences[name] for name in names}
        return replace(self.block, sequences=kept).take(np.arange(start, stop))

    def close(self) -> None:
        """Leave the file open, which is the other table's."""
