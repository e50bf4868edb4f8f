"""Raw parquet to H5 as a stream: train rows shuffled over the whole file, test rows in order."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.ahead import map_ahead
from ..common.errors import UserError
from ..common.files import fingerprint, folder_beside, written_beside
from ..common.ids import IdTables, id_tables
from ..common.progress import progress
from ..config.columns import Columns
from ..raw.reading import RawTable, open_parquet
from .raw_text import checked_ids
from .raw_values import LocalBlock, Vocabularies, convert_batch
from .selection import CHOOSE, Selection
from .shards import write_shards
from .shuffle import Scatter, bucket_of, whole_buckets
from .store import H5Writer

logger = logging.getLogger(__name__)

BATCH_ROWS = 8_192


def convert_train(
    parquet: str | Path | Sequence[str],
    selection: Path,
    columns: Columns,
    train_h5: Path,
    valid_h5: Path,
    *,
    threads: int = 1,
    size: str = "",
    code: Sequence[str] = (),
) -> None:
    """Write the selected rows of `parquet` to two H5 files, each in the selection's random order.

    The files keep `size` and `code`, digests of it, as parts of what they were made from. In
    valid.h5 the rows that only judge come last.

    Two passes over bounded memory: rows are scattered to buckets by their position, then each
    bucket is put in order and written.
    """
    file = open_parquet(parquet)
    file.check_columns(columns, columns.label)
    chosen = Selection.read(selection)
    chosen.check_drawn_from(file.location, file.rows, file.version)

    train_rows, valid_rows = np.bincount(chosen.is_valid, minlength=2).tolist()
    choosing_rows = int(np.count_nonzero(chosen.part == CHOOSE))
    # Train rows fill the first buckets, valid rows those behind.
    first_valid = whole_buckets(train_rows)
    place = chosen.position + first_valid * chosen.is_valid

    def convert(item: tuple[slice, pa.RecordBatch]) -> tuple[LocalBlock, np.ndarray]:
        here, batch = item
        order = np.argsort(bucket_of(place[here]), kind="stable")
        path = file.where(chosen.row[here.start])
        local = convert_batch(batch, chosen.row[here], columns, path, order)
        # By way of float, for labels that are text, such as '1.0'.
        label = batch.column(columns.label).cast(pa.float64()).cast(pa.uint8()).to_numpy()[order]
        return replace(local, block=replace(local.block, label=label)), place[here][order]

    vocabularies = Vocabularies(columns.categorical)
    with folder_beside(train_h5) as work, Scatter(work, columns.ragged) as scatter:
        batches = _selected(file, columns, chosen.row)
        with progress("read", len(place)) as reading:
            for local, places in map_ahead(convert, batches, threads):
                scatter.append(vocabularies.recode(local), places)
                reading.advance(len(places))
        with (
            written_beside(train_h5) as train,
            written_beside(valid_h5) as valid,
            progress("shuffled and written", len(place)) as writing,
        ):
            drawn = _source(file, code) | {"selection": fingerprint(selection), "size": size}
            for h5, start, rows, choosing in (
                (train, 0, train_rows, train_rows),
                (valid, first_valid, valid_rows, choosing_rows),
            ):
                with _writer(h5, columns) as writer:
                    for block in scatter.in_order(start, start + rows, threads):
                        writer.append(block)
                        writing.advance(len(block))
                    writer.finish(vocabularies.words(), drawn, choosing)
    logger.info("%s: %s rows converted", file.location, f"{len(chosen.row):,}")


def convert_test(
    parquet: str | Path | Sequence[str],
    columns: Columns,
    test_h5: Path,
    shards: Path,
    *,
    rows_per_shard: int,
    threads: int = 1,
    code: Sequence[str] = (),
) -> None:
    """Write `parquet` to H5 in file order, and the row ranges of its shards as JSON.

    One pass over the file. The files get their names only after all IDs are known to be unique.
    """
    file = open_parquet(parquet)
    file.check_columns(columns, columns.id)
    if file.rows == 0:
        raise UserError(f"{file.location}: the file has no rows; there is nothing to predict")

    def convert(item: tuple[int, pa.RecordBatch]) -> tuple[LocalBlock, pa.StringArray]:
        first_row, batch = item
        order, path = np.arange(len(batch)), file.where(first_row)
        local = convert_batch(batch, first_row + order, columns, path, order)
        ids = checked_ids(batch.column(columns.id), first_row, columns.id, path)
        return replace(local, block=replace(local.block, id=_as_bytes(ids))), ids

    vocabularies = Vocabularies(columns.categorical)
    batches = file.stream((*columns.features, columns.id), BATCH_ROWS)
    with (
        written_beside(test_h5) as h5,
        written_beside(shards) as shards_json,
        id_tables(shards, threads) as tables,
    ):
        with _writer(h5, columns) as writer, progress("converted", file.rows) as converting:
            for local, batch_ids in map_ahead(convert, batches, threads):
                writer.append(vocabularies.recode(local))
                tables.add("test", pa.table({"id": batch_ids}))
                converting.advance(len(local.block))
            _check_unique(tables, columns.id, str(file.location))
            writer.finish(vocabularies.words(), _source(file, code))
        count = write_shards(shards_json, file.rows, rows_per_shard)
    logger.info("%s: %s rows converted, %d shards", file.location, f"{file.rows:,}", count)


def _selected(
    file: RawTable, columns: Columns, chosen: np.ndarray
) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """Which of the chosen rows, and their features and label, batch by batch in file order."""
    for first_row, batch in file.stream((*columns.features, columns.label), BATCH_ROWS):
        start, stop = np.searchsorted(chosen, (first_row, first_row + len(batch)))
        if stop - start < len(batch):
            batch = batch.take(pa.array(chosen[start:stop] - first_row))
        if start < stop:
            yield slice(start, stop), batch


def _check_unique(tables: IdTables, name: str, path: str) -> None:
    """Raise UserError if an ID occurs twice."""
    repeated, example, row = tables.repeated("test")
    if repeated:
        raise UserError(
            f"{path}: {repeated:,} IDs of column {name!r} occur more than once, for example "
            f"{example!r} (first at row {row}); a submission needs one row per ID: remove the "
            f"repeated rows"
        )


def _as_bytes(texts: pa.StringArray) -> np.ndarray:
    """The texts in UTF-8 as bytes [rows] of one width, the longest's."""
    width = max(1, pc.max(pc.binary_length(texts)).as_py())
    padded = pc.ascii_rpad(texts, width, padding="\0")
    start = np.frombuffer(padded.buffers()[1], np.int32)[padded.offset]
    return np.frombuffer(padded.buffers()[2], f"S{width}", len(texts), start)


def _writer(path: Path, columns: Columns) -> H5Writer:
    return H5Writer(path, columns.numeric, columns.categorical, columns.ragged)


def _source(file: RawTable, code: Sequence[str]) -> dict[str, object]:
    return {
        "file": file.location.name,
        "rows": file.rows,
        "bytes": file.bytes,
        "fingerprint": file.version,
        "simulated": file.is_simulated,
        "code": list(code),
    }
