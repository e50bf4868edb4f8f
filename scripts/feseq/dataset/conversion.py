"""Raw parquet to H5 as a stream: train rows shuffled over the whole file, test rows in order."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.ahead import map_ahead
from ..common.errors import UserError, first_line
from ..common.files import fingerprint, folder_beside, written_beside
from ..common.ids import repeated_ids
from ..common.progress import progress
from ..config.columns import Columns
from ..raw.location import Location, name_of
from ..raw.reading import RawFile, check_columns, is_simulated, open_parquet, stream
from .blocks import LocalBlock, Vocabularies, as_text, encode_batch
from .sampling import Selection
from .shards import write_shards
from .shuffle import Scatter, bucket_of, whole_buckets
from .store import H5Writer

logger = logging.getLogger(__name__)

BATCH_ROWS = 8_192


def convert_train(
    parquet: Location,
    selection: Path,
    columns: Columns,
    train_h5: Path,
    valid_h5: Path,
    *,
    threads: int = 1,
    code: Sequence[str] = (),
) -> None:
    """Write the selected rows of `parquet` to two H5 files, each in the selection's random order.

    The files keep `code`, digests of it, as a part of what they were made from.

    Two passes over bounded memory: rows are scattered to buckets by their position, then each
    bucket is put in order and written.
    """
    file = open_parquet(parquet)
    check_columns(file, parquet, columns, columns.label)
    chosen = Selection.read(selection)
    _check_drawn_from(chosen, selection, file, parquet)

    train_rows, valid_rows = np.bincount(chosen.is_valid, minlength=2).tolist()
    # Train rows fill the first buckets, valid rows those behind.
    first_valid = whole_buckets(train_rows)
    place = chosen.position + first_valid * chosen.is_valid

    def encode(item: tuple[slice, pa.RecordBatch]) -> tuple[LocalBlock, np.ndarray]:
        here, batch = item
        order = np.argsort(bucket_of(place[here]), kind="stable")
        local = encode_batch(batch, chosen.row[here], columns, parquet, order)
        # By way of float, for labels that are text, such as '1.0'.
        label = batch.column(columns.label).cast(pa.float64()).cast(pa.uint8()).to_numpy()[order]
        return replace(local, block=replace(local.block, label=label)), place[here][order]

    vocabularies = Vocabularies(columns.categorical)
    with folder_beside(train_h5) as work, Scatter(work, columns.ragged) as scatter:
        batches = _selected(file, parquet, columns, chosen.row)
        with progress("read", len(place)) as reading:
            for local, places in map_ahead(encode, batches, threads):
                scatter.append(vocabularies.encode(local), places)
                reading.advance(len(places))
        with (
            written_beside(train_h5) as train,
            written_beside(valid_h5) as valid,
            progress("shuffled and written", len(place)) as writing,
        ):
            for h5, start, rows in ((train, 0, train_rows), (valid, first_valid, valid_rows)):
                with _writer(h5, columns) as writer:
                    for block in scatter.in_order(start, start + rows, threads):
                        writer.append(block)
                        writing.advance(len(block))
                    drawn = {"selection": fingerprint(selection)}
                    writer.finish(vocabularies.words(), _source(parquet, file, code) | drawn)
    logger.info("%s: %s rows converted", parquet, f"{len(chosen.row):,}")


def convert_test(
    parquet: Location,
    columns: Columns,
    test_h5: Path,
    shards: Path,
    *,
    rows_per_shard: int,
    threads: int = 1,
    code: Sequence[str] = (),
) -> None:
    """Write `parquet` to H5 in file order, and the row ranges of its shards as JSON."""
    file = open_parquet(parquet)
    check_columns(file, parquet, columns, columns.id)
    rows = file.metadata.num_rows
    if rows == 0:
        raise UserError(f"{parquet}: the file has no rows; there is nothing to predict")
    check_ids(file, parquet, columns.id)

    def encode(item: tuple[int, pa.RecordBatch]) -> LocalBlock:
        first_row, batch = item
        order = np.arange(len(batch))
        local = encode_batch(batch, first_row + order, columns, parquet, order)
        ids = _as_bytes(as_text(batch.column(columns.id)))
        return replace(local, block=replace(local.block, id=ids))

    vocabularies = Vocabularies(columns.categorical)
    batches = stream(file, parquet, (*columns.features, columns.id), BATCH_ROWS)
    with written_beside(test_h5) as h5, written_beside(shards) as shards_json:
        with _writer(h5, columns) as writer, progress("converted", rows) as converting:
            for local in map_ahead(encode, batches, threads):
                writer.append(vocabularies.encode(local))
                converting.advance(len(local.block))
            writer.finish(vocabularies.words(), _source(parquet, file, code))
        count = write_shards(shards_json, rows, rows_per_shard)
    logger.info("%s: %s rows converted, %d shards", parquet, f"{rows:,}", count)


def check_ids(file: RawFile, path: Location, name: str) -> None:
    """Raise UserError if an ID is no text, is missing or occurs twice."""
    batches = stream(file, path, [name], 1 << 20)
    ids = pa.chunked_array(
        [_id_texts(batch.column(0), name, path) for _, batch in batches], pa.string()
    )
    if ids.null_count:
        row = pc.index(ids.is_null(), True).as_py()
        raise UserError(
            f"{path}: ID {name!r} is missing in {ids.null_count:,} rows, first row {row}; "
            f"a submission needs the ID of every row"
        )
    has_nul = pc.match_substring(ids, "\0")
    if pc.any(has_nul).as_py():
        raise UserError(
            f"{path}: ID {name!r} holds a NUL byte in row {pc.index(has_nul, True).as_py()}; "
            f"remove such bytes, H5 cannot keep them"
        )
    repeated, example = repeated_ids(ids)
    if repeated:
        raise UserError(
            f"{path}: {repeated:,} IDs of column {name!r} occur more than once, for example "
            f"{example!r} (first at row {pc.index(ids, example).as_py()}); a submission needs one "
            f"row per ID: remove the repeated rows"
        )


def _selected(
    file: RawFile, path: Location, columns: Columns, chosen: np.ndarray
) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """Which of the chosen rows, and their features and label, batch by batch in file order."""
    for first_row, batch in stream(file, path, (*columns.features, columns.label), BATCH_ROWS):
        start, stop = np.searchsorted(chosen, (first_row, first_row + len(batch)))
        if stop - start < len(batch):
            batch = batch.take(pa.array(chosen[start:stop] - first_row))
        if start < stop:
            yield slice(start, stop), batch


def _id_texts(column: pa.Array, name: str, path: Location) -> pa.StringArray:
    try:
        texts = as_text(column)
        texts.validate(full=True)
    except pa.ArrowException as error:
        raise UserError(
            f"{path}: ID {name!r} of type {column.type} cannot be read as UTF-8 text "
            f"({first_line(error)}); write the column anew as strings or integers, or name another "
            f"one in columns.id"
        ) from None
    return texts


def _as_bytes(texts: pa.StringArray) -> np.ndarray:
    """The texts in UTF-8 as bytes [rows] of one width, the longest's."""
    width = max(1, pc.max(pc.binary_length(texts)).as_py())
    padded = pc.ascii_rpad(texts, width, padding="\0")
    start = np.frombuffer(padded.buffers()[1], np.int32)[padded.offset]
    return np.frombuffer(padded.buffers()[2], f"S{width}", len(texts), start)


def _check_drawn_from(chosen: Selection, selection: Path, file: RawFile, parquet: Location) -> None:
    """Raise UserError if `chosen` was drawn from another raw file, or from one since replaced."""
    too_long = chosen.row[-1] >= file.metadata.num_rows
    if too_long or chosen.raw not in ("", file.version):
        found = f"holds row {chosen.row[-1]}" if too_long else "was drawn from another file"
        raise UserError(
            f"{selection}: {found}, and {parquet} has {file.metadata.num_rows} rows; delete the "
            f"selection and run snakemake again"
        )


def _writer(path: Path, columns: Columns) -> H5Writer:
    return H5Writer(path, columns.numeric, columns.categorical, columns.ragged)


def _source(path: Location, file: RawFile, code: Sequence[str]) -> dict[str, object]:
    return {
        "file": name_of(path),
        "rows": file.metadata.num_rows,
        "bytes": file.bytes,
        "fingerprint": file.version,
        "simulated": is_simulated(file),
        "code": list(code),
    }
