"""Windows of a raw file as tables in memory, which models encode as they do an H5 file."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.ahead import map_ahead
from ..config.columns import Columns
from ..dataset.batches import WINDOW_ROWS
from ..dataset.block import Block
from ..dataset.block_table import BlockTable
from ..dataset.raw_text import checked_ids
from ..dataset.raw_values import LocalBlock, Vocabularies, convert_batch
from ..raw.reading import RawTable

_BATCH_ROWS = 8_192
_BATCHES = WINDOW_ROWS // _BATCH_ROWS

_Part = tuple[LocalBlock, pa.StringArray]


class Window(BlockTable):
    """Some rows of a raw file, as `convert_test` would have written them, and their `ids`."""

    def __init__(self, parts: Sequence[_Part], file: RawTable, columns: Columns) -> None:
        vocabularies = Vocabularies(columns.categorical)
        block = Block.joined([vocabularies.recode(local) for local, _ in parts])
        words = vocabularies.words()
        name = Path(file.location.name)
        super().__init__(block, columns.numeric, words, path=name, simulated=file.is_simulated)
        self.ids = pa.chunked_array([ids for _, ids in parts], pa.string())


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
