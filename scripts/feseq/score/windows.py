"""Windows of a raw file as tables in memory, which models encode as they do an H5 file."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.ahead import map_ahead
from ..config.columns import Columns
from ..dataset.batches import WINDOW_ROWS
from ..dataset.raw_text import checked_ids
from ..dataset.raw_values import LocalBlock, Vocabularies, convert_batch
from ..dataset.store import Block, H5Table
from ..raw.reading import RawTable

_BATCH_ROWS = 8_192
_BATCHES = WINDOW_ROWS // _BATCH_ROWS

_Part = tuple[LocalBlock, pa.StringArray]


class Window(H5Table):
    """Some rows of a raw file, as `convert_test` would have written them, and their `ids`."""

    def __init__(self, parts: Sequence[_Part], file: RawTable, columns: Columns) -> None:
        vocabularies = Vocabularies(columns.categorical)
        self._block = Block.joined([vocabularies.recode(local) for local, _ in parts])
        self._raw_words = vocabularies.words()
        self.ids = pa.chunked_array([ids for _, ids in parts], pa.string())
        self.path, self.source = Path(file.location.name), {"simulated": file.is_simulated}
        self.rows = self.choosing_rows = len(self._block)
        self.numeric_columns = list(columns.numeric)
        self.categorical_columns = list(columns.categorical)
        self.sequence_columns = list(columns.ragged)

    @property
    def has_times(self) -> bool:
        """True if its rows have times."""
        return self._block.time is not None

    def vocabulary(self, column: str) -> list[str]:
        """Raw strings by code; entry 0 stands for missing."""
        return self._raw_words[column]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of `row` or `categorical`."""
        return getattr(self._block, name)[start:stop]

    def read(self, start: int, stop: int, sequences_of: Sequence[str] | None = None) -> Block:
        """Rows start to stop (not included) as one block."""
        everything = (start, stop) == (0, self.rows)
        return self._block if everything else self._block.take(np.arange(start, stop))


def windows(file: RawTable, columns: Columns, threads: int) -> Iterator[Window]:
    """All rows of `file` in order; the next window is made while one is in use.

    Raises UserError for values that cannot be read, and for rows without an ID.
    """

    def convert(item: tuple[int, pa.RecordBatch]) -> _Part:
        first_row, batch = item
        order, name = np.arange(len(batch)), file.where(first_row)
        ids = checked_ids(batch.column(columns.id), first_row, columns.id, name)
        return convert_batch(batch, first_row + order, columns, name, order), ids

    batches = file.stream((*columns.features, columns.id), _BATCH_ROWS)
    groups = _in_groups(map_ahead(convert, batches, threads))
    return map_ahead(lambda parts: Window(parts, file, columns), groups)


def _in_groups(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    group: list[_Part] = []
    for part in parts:
        group.append(part)
        if len(group) == _BATCHES:
            yield group
            group = []
    if group:
        yield group
