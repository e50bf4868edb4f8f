"""Reading raw parquet: opening, checking columns, streaming, each failure with a clear message."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..common.errors import UserError, first_line
from ..common.files import digest_of_tail
from ..config.columns import Columns
from .location import Location, check_unchanged, is_remote, open_location, read_error

logger = logging.getLogger(__name__)

# Schema metadata of the stand-in's files; a rename or a copy does not make them real.
SIMULATED_MARK = {b"feseq": b"simulated"}
_LOCAL_BUFFER = 1 << 16
# Of a remote file: a row group that is fetched at once, and otherwise the reads of its columns.
_MOST_OF_GROUP = 1 << 30
_ALL_BUFFERS, _LEAST_REQUEST, _MOST_REQUEST = 1 << 29, 1 << 18, 1 << 23


class RawFile(pq.ParquetFile):
    """An open parquet file that knows its size and which `version` of it was opened.

    What is decoded is fetched piece by piece: a whole file can be one row group of many GB. Over a
    network, where each request takes a while, these are few large ones.
    """

    def __init__(self, location: Location, source: pa.NativeFile) -> None:
        self.bytes = source.size()
        self.version = digest_of_tail(source, self.bytes)
        metadata = pq.read_metadata(source)
        remote = is_remote(location)
        self._by_group = remote and _largest_group(metadata) <= _MOST_OF_GROUP
        super().__init__(
            source,
            metadata=metadata,
            pre_buffer=self._by_group,
            buffer_size=0 if self._by_group else _buffer_bytes(metadata, remote),
            page_checksum_verification=True,
        )

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The file in batches of at most `rows` rows, only these columns fetched and decoded."""
        columns = list(dict.fromkeys(names))
        for groups in [[i] for i in range(self.num_row_groups)] if self._by_group else [None]:
            yield from self.iter_batches(batch_size=rows, columns=columns, row_groups=groups)


def _largest_group(metadata: pq.FileMetaData) -> int:
    """Bytes of the largest row group as it lies in the file."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    return max(
        (sum(g.column(i).total_compressed_size for i in range(g.num_columns)) for g in groups),
        default=0,
    )


def _buffer_bytes(metadata: pq.FileMetaData, remote: bool) -> int:
    """Bytes of one read of a column; in memory there are as many for each column."""
    if not remote:
        return _LOCAL_BUFFER
    share = _ALL_BUFFERS // max(1, metadata.num_columns)
    return min(max(share, _LEAST_REQUEST), _MOST_REQUEST)


def open_parquet(location: Location) -> RawFile:
    """Open a parquet file; raises UserError if it is missing, truncated or not parquet."""
    if not is_remote(location) and not Path(location).is_file():
        raise UserError(f"{location}: no such file; put it there or change raw.* in the config")
    source = open_location(location)
    try:
        return RawFile(location, source)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise read_error(location, error) or UserError(
            f"{location}: not a complete parquet file ({first_line(error)}); it may be truncated: "
            f"copy it again and compare sizes (here {source.size():,} bytes)"
        ) from None


def is_simulated(file: pq.ParquetFile) -> bool:
    """True for a file that the simulation wrote."""
    return SIMULATED_MARK.items() <= (file.schema_arrow.metadata or {}).items()


def check_same_origin(train: Location, test: Location) -> None:
    """Raise UserError if one of two raw files is real and the other was simulated."""
    train_simulated, test_simulated = (is_simulated(open_parquet(file)) for file in (train, test))
    if train_simulated != test_simulated:
        simulated, real = (train, test) if train_simulated else (test, train)
        raise UserError(
            f"{simulated} was written by the simulation and {real} was not; real and simulated "
            f"data are never mixed: take both from one source"
        )


def check_columns(file: pq.ParquetFile, path: Location, columns: Columns, extra: str) -> None:
    """Check that every column in use and `extra` (label or ID) is there, once, of a usable type."""
    schema = file.schema_arrow
    present = schema.names
    missing = [name for name in (*columns.features, extra) if name not in present]
    if missing:
        groups = sorted({columns.group_of[name] for name in missing if name in columns.group_of})
        advice = (
            f"drop group {' and '.join(map(repr, groups))} from columns.use"
            if groups
            else "name the right column in columns.label or columns.id"
        )
        raise UserError(
            f"{path}: {len(missing)} of {len(columns.features) + 1} columns are missing: "
            f"{_some(missing)}; the file has {len(present)}: {_some(present)}. Correct the "
            f"columns block of the config, or {advice}"
        )
    twice = [name for name in (*columns.features, extra) if present.count(name) > 1]
    if twice:
        raise UserError(f"{path}: columns that occur more than once: {_some(twice)}")
    for names, is_usable, role in (
        (columns.categorical, _is_categorical, "categorical (string, integer, float or boolean)"),
        (columns.numeric, _is_number, "numeric (integer, float, decimal or boolean)"),
        (columns.ragged, _is_text, "a sequence (string of comma-joined integers)"),
        ([columns.row_time] if columns.row_time else [], _is_time, "a time (integer, timestamp)"),
    ):
        for name in names:
            kind = schema.field(name).type
            if not is_usable(kind):
                raise UserError(f"{path}: column {name!r} has type {kind}, cannot be {role}")
    unused = [name for name in present if name not in (*columns.features, extra)]
    if unused:
        logger.info("%s: %d columns not in use: %s", path, len(unused), _some(unused))


def stream(
    file: RawFile, path: Location, names: Sequence[str], batch_rows: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (number of its first row, batch) over the whole file, only these columns read.

    Raises UserError if they cannot be decoded, or if the file was replaced before the last batch.
    """
    first_row = 0
    batches = file.batches(names, batch_rows)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            check_unchanged(path, file.version)
            raise read_error(path, error) or UserError(
                f"{path}: cannot be decoded after row {first_row:,} of {file.metadata.num_rows:,} "
                f"({first_line(error)}); the file is damaged: copy it again"
            ) from None
        rows, found = file.metadata.num_rows, first_row + (0 if batch is None else len(batch))
        if found > rows or (batch is None and found < rows):
            raise UserError(
                f"{path}: its footer says {rows:,} rows, and {'more' if found > rows else found} "
                f"can be decoded of {_some(names)}; the file is damaged: copy it again or write "
                f"it anew"
            )
        if batch is None:
            check_unchanged(path, file.version)
            return
        yield first_row, batch
        first_row = found


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        # pandas' way to write a column without a single value.
        or pa.types.is_null(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_timestamp(kind)


def _is_categorical(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return _is_text(kind) or _is_number(kind)


def _some(names: Sequence[str], most: int = 8) -> str:
    listed = ", ".join(map(repr, names[:most]))
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
