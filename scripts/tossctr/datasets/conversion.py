"""Raw files to H5, part by part: train rows shuffled, test rows in order."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.files import Output, written_beside
from ..common.prefetch import prefetch_map
from ..common.progress import Progress
from ..config.columns import Columns
from ..raw.labels import as_numbers, pair_of
from ..raw.location import TableLocation
from ..raw.parts import Part, read_parts
from ..raw.reading import RawTable
from ..raw.text import checked_ids
from .block import Block
from .raw_values import RawStrings, add_strings, convert_batch
from .selection import SIDES, Selection
from .shuffle import Shuffle
from .store import H5Writer

logger = logging.getLogger(__name__)

BATCH_ROWS = 8_192


def convert_train(
    raw: str | Path | Sequence[str],
    selection: Path,
    columns: Columns,
    train: Output,
    valid: Output,
    *,
    parts: Path | None = None,
    part: int = 0,
    threads: int = 1,
    size: str = "",
    code: str = "",
) -> None:
    """Write the selected rows of `raw` to H5 files, train and validation rows.

    `raw` is a table of one part, or the files of the `part` of this number among those listed in
    `parts`. Rows are collected up to SHUFFLED_BYTES and written, once, in the selection's random
    order. The source in the H5 files has `size` and `code`, the digest of this code.
    """
    listed = read_parts(parts).parts[part] if parts else None
    file = RawTable(raw, listed, columns)
    file.check_columns(columns, columns.label)
    chosen = Selection.read(selection, part, listed.draw if listed else None)
    known: dict[str, set[str]] = {name: set() for name in columns.categorical}
    with ExitStack() as stack:
        paths = [stack.enter_context(written_beside(output)) for output in (train, valid)]
        writers = [stack.enter_context(_writer(path, columns)) for path in paths]
        shuffle = Shuffle(writers)
        convert = partial(_convert_drawn, file, columns, chosen)
        batches = prefetch_map(convert, _selected(file, columns, chosen.row), threads)
        converting = Progress("converted", len(chosen))
        for block, words, side, place in batches:
            add_strings(known, words)
            shuffle.append(block, side, place)
            converting.advance(len(place))
        shuffle.write()
        drawn = _source(file, columns, code) | {"draw": chosen.digest, "size": size}
        for writer, name in zip(writers, SIDES):
            writer.finish(known, drawn, name)
    logger.info("%s: %s rows converted", file.location, f"{len(chosen):,}")


def _convert_drawn(
    file: RawTable, columns: Columns, chosen: Selection, item: tuple[slice, pa.RecordBatch]
) -> tuple[Block, RawStrings, np.ndarray, np.ndarray]:
    """An item of `_selected` as a block sorted by side and position, its strings, and both."""
    here, batch = item
    side, place = chosen.side[here], chosen.position[here]
    order, row = np.lexsort((place, side)), chosen.row[here] + file.first_row
    path = file.where(int(row[0]) if len(row) else file.first_row)
    block, words = convert_batch(batch, row, columns, path, order)
    label = batch.column(columns.label)
    # Via float, since labels may be text such as '1.0'.
    label = as_numbers(label, pair_of(label)).cast(pa.float64()).cast(pa.uint8())
    row, period, fold = (each[here][order] for each in (chosen.row, chosen.period, chosen.fold))
    block = replace(block, label=label.to_numpy()[order], period=period, fold=fold, row=row)
    return block, words, side[order], place[order]


def convert_test(
    parquet: str | Path | Sequence[str] | TableLocation,
    columns: Columns,
    test_h5: Path,
    *,
    part: Part | None = None,
    threads: int = 1,
    code: str = "",
) -> None:
    """Write `parquet`, or the part of a table whose files it names, to H5 in file order.

    It takes one pass and bounded memory.
    """
    file = RawTable(parquet, part, columns)
    file.check_columns(columns, columns.id)

    def convert(item: tuple[int, pa.RecordBatch]) -> tuple[Block, RawStrings]:
        first_row, batch = item
        order, path = np.arange(len(batch)), file.where(first_row)
        block, words = convert_batch(batch, first_row + order, columns, path, order)
        texts = checked_ids(batch.column(columns.id), first_row, columns.id, path).to_pylist()
        ids = np.array([text.encode() for text in texts], np.bytes_)
        return replace(block, row=block.row - file.first_row, id=ids), words

    known: dict[str, set[str]] = {name: set() for name in columns.categorical}
    batches = file.stream((*columns.features, columns.id), BATCH_ROWS)
    with written_beside(test_h5) as h5, _writer(h5, columns) as writer:
        converting = Progress("converted", file.rows)
        for block, words in prefetch_map(convert, batches, threads):
            add_strings(known, words)
            writer.append(block)
            converting.advance(len(block))
        writer.finish(known, _source(file, columns, code))
    logger.info("%s: %s rows converted", file.location, f"{file.rows:,}")


def _selected(
    file: RawTable, columns: Columns, chosen: np.ndarray
) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """Slices of the chosen rows, with their features and label, batch by batch in file order.

    There is at least one batch, so that columns are known.
    """
    for number, batch in file.stream((*columns.features, columns.label), BATCH_ROWS):
        first_row = number - file.first_row
        start, stop = np.searchsorted(chosen, (first_row, first_row + len(batch)))
        if stop - start < len(batch):
            batch = batch.take(pa.array(chosen[start:stop] - first_row))
        if start < stop or not first_row:
            yield slice(start, stop), batch


def _writer(path: Path, columns: Columns) -> closing[H5Writer]:
    return closing(H5Writer(path, columns.numeric, columns.categorical, columns.ragged))


def _source(file: RawTable, columns: Columns, code: str) -> dict[str, object]:
    return {
        "file": file.location.name,
        "rows": file.rows,
        "fingerprint": file.version,
        "simulated": file.is_simulated,
        "row_time": columns.row_time,
        "code": code,
    }


def convert_test_part(
    raw: list[str],
    parts: Path,
    part: int,
    columns: Columns,
    h5: Output,
    *,
    threads: int,
    code: str,
) -> None:
    """`convert_test` of the part with this number in the listing `parts`."""
    convert_test(raw, columns, h5, part=read_parts(parts).parts[part], threads=threads, code=code)
