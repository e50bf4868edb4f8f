"""A table in memory that is read like an H5 file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .block import Block
from .store import H5Table


class BlockTable(H5Table):
    """The rows of one block.

    `words` by categorical column, in the order of the block's: raw strings by code, entry 0 stands
    for missing. `path` is what errors call it.
    """

    def __init__(
        self,
        block: Block,
        numeric: Sequence[str],
        words: Mapping[str, list[str]],
        *,
        path: Path,
        simulated: bool,
    ) -> None:
        self.block, self._raw_words = block, words
        self.path, self.source = path, {"simulated": simulated}
        self.rows = self.choosing_rows = len(block)
        self.numeric_columns = list(numeric)
        self.categorical_columns = list(words)
        self.sequence_columns = list(block.sequences)

    @property
    def has_times(self) -> bool:
        """True if its rows have times."""
        return self.block.time is not None

    def vocabulary(self, column: str) -> list[str]:
        """Raw strings by code; entry 0 stands for missing."""
        return self._raw_words[column]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of `row` or `categorical`."""
        return getattr(self.block, name)[start:stop]

    def read(self, start: int, stop: int, sequences_of: Sequence[str] | None = None) -> Block:
        """Rows start to stop (not included) as one block."""
        everything = (start, stop) == (0, self.rows)
        return self.block if everything else self.block.take(np.arange(start, stop))
