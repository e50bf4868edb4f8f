"""Reading raw parquet: opening, checking columns, streaming, each failure with a clear message."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..common.errors import UserError, first_line
from ..common.parquet import SIMULATED_MARK
from ..config.columns import Columns
from .location import Location

logger = logging.getLogger(__name__)

_LOCAL_BUFFER = 1 << 16
# A remote row group of at most this many bytes is fetched at once; a larger one column by column.
_MOST_OF_GROUP = 1 << 30
_ALL_BUFFERS, _LEAST_REQUEST, _MOST_REQUEST = 1 << 29, 1 << 18, 1 << 23


class RawFile(pq.ParquetFile):
    """An open parquet file that knows its location, its size and the `version` that was opened.

    Local files are decoded piece by piece, since a whole file can be one row group of many GB.
    Remote files are fetched in few large requests, since each takes a while.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        # Before it is opened: a file that replaces it in between has another version in the end.
        self.version = location.version
        source = location.file
        self.bytes = source.size()
        metadata = pq.read_metadata(source)
        remote = location.is_remote
        self._by_group = remote and _largest_group(metadata) <= _MOST_OF_GROUP
        super().__init__(
            source,
            metadata=metadata,
            pre_buffer=self._by_group,
            buffer_size=0 if self._by_group else _buffer_bytes(metadata, remote),
            page_checksum_verification=True,
        )

    @property
    def rows(self) -> int:
        """Rows according to the footer."""
        return int(self.metadata.num_rows)

    @property
    def is_simulated(self) -> bool:
        """True for a file that the simulation wrote."""
        return SIMULATED_MARK.items() <= (self.schema_arrow.metadata or {}).items()

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The file in batches of at most `rows` rows, only these columns fetched and decoded."""
        columns = list(dict.fromkeys(names))
        for groups in [[i] for i in range(self.num_row_groups)] if self._by_group else [None]:
            yield from self.iter_batches(batch_size=rows, columns=columns, row_groups=groups)

    def stream(self, names: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (number of its first row, batch) over the whole file, only these columns read.

        Raises UserError if they cannot be decoded, or if the file was replaced before the last
        batch.
        """
        first_row = 0
        batches = self.batches(names, batch_rows)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                self.location.check_unchanged(self.version)
                raise self.location.read_error(error) or UserError(
                    f"{self.location}: cannot be decoded after row {first_row:,} of {self.rows:,} "
                    f"({first_line(error)}); the file is damaged: copy it again"
                ) from None
            found = first_row + (0 if batch is None else len(batch))
            if found > self.rows or (batch is None and found < self.rows):
                decoded = "more" if found > self.rows else found
                raise UserError(
                    f"{self.location}: its footer says {self.rows:,} rows, and {decoded} can be "
                    f"decoded of {_some(names)}; the file is damaged: copy it or write it again"
                )
            if batch is None:
                self.location.check_unchanged(self.version)
                return
            yield first_row, batch
            first_row = found

    def check_columns(self, columns: Columns, extra: str, cure: str = "") -> None:
        """Check that all columns in use and `extra` (label or ID) occur once, in a usable type.

        `cure` says what to do where one is missing, if that is not to correct the config.
        """
        wanted, present = (*columns.features, extra), self.schema_arrow.names
        missing = [name for name in wanted if name not in present]
        if missing:
            groups = sorted(
                {columns.group_of[name] for name in missing if name in columns.group_of}
            )
            own = (
                f"drop group {' and '.join(map(repr, groups))} from columns.use"
                if groups
                else "name the right column in columns.label or columns.id"
            )
            raise UserError(
                f"{self.location}: {len(missing)} of {len(wanted)} columns are missing: "
                f"{_some(missing)}; the file has {len(present)}: {_some(present)}; "
                + (cure or f"correct the columns block of the config, or {own}")
            )
        twice = [name for name in wanted if present.count(name) > 1]
        if twice:
            raise UserError(f"{self.location}: columns that occur more than once: {_some(twice)}")
        self._check_types(columns)
        unused = [name for name in present if name not in wanted]
        if unused:
            logger.info("%s: %d columns not in use: %s", self.location, len(unused), _some(unused))

    def _check_types(self, columns: Columns) -> None:
        row_time = [columns.row_time] if columns.row_time else []
        for names, is_usable, role in (
            (columns.categorical, _is_categorical, "categorical (string, integer, float, boolean)"),
            (columns.numeric, _is_number, "numeric (integer, float, decimal or boolean)"),
            (columns.ragged, _is_sequence, "a sequence (comma-joined integers, or a list of such)"),
            (row_time, _is_time, "a time (integer, timestamp)"),
        ):
            for name in names:
                kind = self.schema_arrow.field(name).type
                if not is_usable(kind):
                    raise UserError(
                        f"{self.location}: column {name!r} has type {kind}, cannot be {role}"
                    )

    def check_kinds(self, other: "RawFile", columns: Columns) -> None:
        """Raise UserError if a category or a row's time is of another kind in the other file.

        Values are compared as they are written: 7 is neither 07 nor true.
        """
        row_time = [columns.row_time] if columns.row_time else []
        for name in (*columns.categorical, *row_time):
            types = [file.schema_arrow.field(name).type for file in (other, self)]
            kinds = [kind for kind in map(_kind, types) if kind]
            if len(set(kinds)) > 1:
                raise UserError(
                    f"column {name!r} has type {types[0]} in {other.location} and {types[1]} in "
                    f"{self.location}; values are compared as they are written: take one type"
                )


def open_parquet(written: str | Path | Location) -> RawFile:
    """Open a parquet file; raises UserError if it is missing, truncated or not parquet."""
    location = written if isinstance(written, Location) else Location(written)
    if not location.is_present:
        raise UserError(f"{location}: no such file; put it there or change raw.* in the config")
    try:
        return RawFile(location)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise location.read_error(error) or UserError(
            f"{location}: not a complete parquet file ({first_line(error)}); it may be truncated: "
            f"copy it again and compare sizes (here {location.file.size():,} bytes)"
        ) from None


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


def _is_sequence(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return _is_text(kind)
    return _is_text(kind.value_type) or pa.types.is_integer(kind.value_type)


def _kind(kind: pa.DataType) -> str:
    """Types whose values read alike; '' for a column without values."""
    kind = _value_type(kind)
    if pa.types.is_null(kind):
        return ""
    if pa.types.is_boolean(kind) or pa.types.is_timestamp(kind):
        return str(kind).partition("[")[0]
    return "text" if _is_text(kind) else "number"


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
