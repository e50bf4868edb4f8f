"""Converts raw files to H5, part by part: train rows shuffled, test rows in order."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.arrays import Ragged, narrow_dtype
from ..common.files import Output, atomic_write
from ..common.prefetch import prefetch_map
from ..common.progress import Progress
from ..config.columns import Columns
from ..raw.location import TableLocation
from ..raw.parts import Part, read_part_list
from ..raw.reading import RawTable
from ..raw.values import checked_ids, label_pair, labels_as_numbers
from .draw import Selection
from .raw_values import RawStrings, convert_batch
from .split import SPLITS
from .store import H5Writer
from .table import Block

logger = logging.getLogger(__name__)

# Rows per read of a raw file, and per write to an H5 file.
BATCH_ROWS = WRITTEN_ROWS = 8_192
# The maximum bytes that are collected and shuffled together.
SHUFFLED_BYTES = 1 << 28


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
    """Write the drawn rows of a raw train table to the H5 files `train` and `valid`.

    The parquet file `selection` lists the drawn rows. Without `parts`, `raw` is the whole table.
    With `parts`, a JSON list of the table's parts, only part number `part` is converted, and `raw`
    has the files of this part. Rows are shuffled in chunks of up to SHUFFLED_BYTES. The H5 files
    record the `size`, such as toy, and `code`, a digest of the code.
    """
    listed = read_part_list(parts).parts[part] if parts else None
    file = RawTable(raw, listed, columns)
    file.check_columns(columns, columns.label)
    chosen = Selection.read(selection, part, listed.draw if listed else None)

    def convert(item: tuple[slice, pa.RecordBatch]) -> tuple[slice, Block, RawStrings]:
        here, batch = item
        row = chosen.row[here]
        numbers = row + file.first_row
        path = file.file_of_row(int(numbers[0]) if len(row) else file.first_row)
        block, strings = convert_batch(batch, numbers, columns, path)
        label = batch.column(columns.label)
        # Via float, since labels may be text such as '1.0'.
        numbers = labels_as_numbers(label, label_pair(label)).cast(pa.float64())
        label = numbers.cast(pa.uint8()).to_numpy()
        period, fold = chosen.period[here], chosen.fold[here]
        return here, replace(block, row=row, label=label, period=period, fold=fold), strings

    words: dict[str, set[str]] = defaultdict(set)
    waiting: list[tuple[slice, Block]] = []
    waiting_bytes = 0
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_write(output)) for output in (train, valid)]
        writers = [stack.enter_context(closing(H5Writer(path, columns))) for path in paths]
        converting = Progress("converted", len(chosen))
        batches = _selected(file, columns, chosen)
        for here, block, strings in prefetch_map(convert, batches, threads):
            for name, some in strings.items():
                words[name].update(some)
            block_bytes = block.nbytes + chosen.position[here].nbytes
            waiting_bytes += block_bytes
            if waiting and waiting_bytes > SHUFFLED_BYTES:
                _write_shuffled(waiting, chosen, writers)
                waiting_bytes = block_bytes
            waiting.append((here, block))
            converting.advance(len(block))
        _write_shuffled(waiting, chosen, writers)
        source = _source(file, columns, code) | {"draw": chosen.digest, "size": size}
        for writer, name in zip(writers, SPLITS):
            writer.finish(words, source, name)
    logger.info("%s: %s rows converted", file.location, f"{len(chosen):,}")


def _selected(
    file: RawTable, columns: Columns, chosen: Selection
) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """Yield (slice of `chosen`, batch with features and label of these rows), in file order.

    Yields at least one batch, even if it is empty, so that the columns are known.
    """
    for number, batch in file.stream((*columns.features, columns.label), BATCH_ROWS):
        first_row = number - file.first_row
        start, stop = np.searchsorted(chosen.row, (first_row, first_row + len(batch)))
        if stop - start < len(batch):
            batch = batch.take(pa.array(chosen.row[start:stop] - first_row))
        if start < stop or not first_row:
            yield slice(start, stop), batch


def _write_shuffled(
    waiting: list[tuple[slice, Block]], chosen: Selection, writers: Sequence[H5Writer]
) -> None:
    """Write the waiting blocks in the random order of `chosen`, each row to its split's file.

    `waiting` has (slice of `chosen`, block), and is cleared. A split without rows still gets its
    columns.
    """
    ends = np.cumsum([len(block) for _, block in waiting])
    split, position = (
        np.concatenate([values[here] for here, _ in waiting])
        for values in (chosen.split, chosen.position)
    )
    for number, writer in enumerate(writers):
        order = np.flatnonzero(split == number)
        order = order[np.argsort(position[order])]
        for start in range(0, max(1, len(order)), WRITTEN_ROWS):
            # Copies only these rows, not all waiting rows.
            here = order[start : start + WRITTEN_ROWS]
            ascending = np.sort(here)
            pieces = np.split(ascending, np.searchsorted(ascending, ends[:-1]))
            blocks = [
                block.take(piece - (end - len(block)))
                for (_, block), end, piece in zip(waiting, ends, pieces)
            ]
            block = Block.concatenate(blocks).take(np.searchsorted(ascending, here))
            sequences = {
                name: Ragged(narrow_dtype(sequence.values), sequence.offsets)
                for name, sequence in block.sequences.items()
            }
            writer.append(replace(block, sequences=sequences))
    waiting.clear()


def convert_test(
    raw: str | Path | Sequence[str] | TableLocation,
    columns: Columns,
    h5: Path,
    *,
    part: Part | None = None,
    threads: int = 1,
    code: str = "",
) -> None:
    """Write the rows of a raw test table to the file `h5`, in order.

    With `part`, `raw` names the files of this part. Without an ID column, a row's ID is its number
    in the part, from 1. The file records `code`, a digest of the code.
    """
    file = RawTable(raw, part, columns)
    file.check_columns(columns, columns.id)

    def convert(item: tuple[int, pa.RecordBatch]) -> tuple[Block, RawStrings]:
        first_row, batch = item
        row, path = first_row + np.arange(len(batch)), file.file_of_row(first_row)
        block, strings = convert_batch(batch, row, columns, path)
        ids = (row - file.first_row + 1).astype(np.bytes_)
        if columns.id:
            texts = checked_ids(batch.column(columns.id), first_row, columns.id, path).to_pylist()
            ids = np.array([text.encode() for text in texts], np.bytes_)
        return replace(block, row=row - file.first_row, id=ids), strings

    words: dict[str, set[str]] = defaultdict(set)
    names = [name for name in (*columns.features, columns.id) if name]
    batches = file.stream(names, BATCH_ROWS)
    with atomic_write(h5) as path, closing(H5Writer(path, columns)) as writer:
        converting = Progress("converted", file.rows)
        for block, strings in prefetch_map(convert, batches, threads):
            for name, some in strings.items():
                words[name].update(some)
            writer.append(block)
            converting.advance(len(block))
        writer.finish(words, _source(file, columns, code))
    logger.info("%s: %s rows converted", file.location, f"{file.rows:,}")


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
    """Write the rows of one part of a raw test table to the file `h5`, in order.

    `raw` names the files of the part; `part` is its number in the JSON list of parts `parts`.
    """
    convert_test(
        raw, columns, h5, part=read_part_list(parts).parts[part], threads=threads, code=code
    )


def _source(file: RawTable, columns: Columns, code: str) -> dict[str, object]:
    return {
        "file": file.location.name,
        "rows": file.rows,
        "fingerprint": file.version,
        "simulated": file.is_simulated,
        "code": code,
    }
