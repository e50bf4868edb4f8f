"""One raw parquet file: opened, and streamed, each failure with a clear message."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq

from ..common.errors import UserError, first_line
from ..common.parquet import SIMULATED_MARK
from .location import Location

_LOCAL_BUFFER = 1 << 16
# A remote row group of at most this many bytes is fetched at once; a larger one column by column.
_MOST_OF_GROUP = 1 << 30
_ALL_BUFFERS, _LEAST_REQUEST, _MOST_REQUEST = 1 << 29, 1 << 18, 1 << 23


# From one to another, which is not included; None: all.
Range = tuple[int, int] | None


class RawFile(pq.ParquetFile):
    """An open parquet file that knows its location, its size and the `version` that was opened.

    `groups` are the row groups that are read, from one to another (not included), and `inside` the
    rows of these; None: all.
    Local files are decoded piece by piece, since a whole file can be one row group of many GB.
    Remote files are fetched in few large requests, since each takes a while.
    """

    def __init__(self, location: Location, groups: Range = None, inside: Range = None) -> None:
        self.location, self._groups, self._inside = location, groups, inside
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
        """Rows that are read, according to the footer."""
        if self._inside:
            return self._inside[1] - self._inside[0]
        if self._groups is None:
            return int(self.metadata.num_rows)
        return sum(self.group_rows[slice(*self._groups)])

    @property
    def group_rows(self) -> list[int]:
        """Rows of each row group of the file."""
        return [self.metadata.row_group(i).num_rows for i in range(self.num_row_groups)]

    @property
    def first_row(self) -> int:
        """The place in the file of the first row that is read."""
        before = sum(self.group_rows[: self._groups[0]]) if self._groups else 0
        return before + (self._inside[0] if self._inside else 0)

    @property
    def is_simulated(self) -> bool:
        """True for a file that the simulation wrote."""
        return SIMULATED_MARK.items() <= (self.schema_arrow.metadata or {}).items()

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows in batches of `rows`, only these columns fetched and decoded.

        The last may be shorter, and of a cut row group the first. They are the same for local and
        remote files, and however these are decoded, since the stretches of a train file end where
        a batch does.
        """
        columns = list(dict.fromkeys(names))
        read = list(range(*(self._groups or (0, self.num_row_groups))))
        together = [[i] for i in read] if self._by_group else [read]
        decoded = (self.iter_batches(rows, groups, columns) for groups in together)
        batches = _recut(chain.from_iterable(decoded), rows)
        return _only(batches, *self._inside) if self._inside else batches

    def stream(self, names: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (how many rows were before it, batch) over all rows, only these columns read.

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
                    f"{self.location}: cannot be decoded after row {self.first_row + first_row:,} "
                    f"({first_line(error)}); the file is damaged: copy it again"
                ) from None
            found = first_row + (0 if batch is None else len(batch))
            if found > self.rows or (batch is None and found < self.rows):
                decoded = "more" if found > self.rows else found
                raise UserError(
                    f"{self.location}: its footer says {self.rows:,} rows from row "
                    f"{self.first_row:,} on, and {decoded} can be decoded of {some(names)}; the "
                    f"file is damaged: copy it or write it again"
                )
            if batch is None:
                self.location.check_unchanged(self.version)
                return
            yield first_row, batch
            first_row = found


def _recut(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of `rows`, but for the last."""
    waiting: list[pa.RecordBatch] = []
    lacking = rows
    for batch in batches:
        while len(batch) >= lacking:
            yield (
                pa.concat_batches([*waiting, batch.slice(0, lacking)])
                if waiting
                else (batch.slice(0, rows))
            )
            batch, waiting, lacking = batch.slice(lacking), [], rows
        if len(batch):
            waiting.append(batch)
            lacking -= len(batch)
    if waiting:
        yield pa.concat_batches(waiting)


def _only(batches: Iterator[pa.RecordBatch], start: int, stop: int) -> Iterator[pa.RecordBatch]:
    """The rows start to stop (not included); what is behind them is not decoded."""
    first = 0
    for batch in batches:
        begin, end = (min(max(row - first, 0), len(batch)) for row in (start, stop))
        if begin < end:
            yield batch.slice(begin, end - begin)
        first += len(batch)
        if first >= stop:
            return


def open_file(location: Location, groups: Range = None, inside: Range = None) -> RawFile:
    """Open a parquet file; raises UserError if it is missing, truncated or not parquet."""
    if not location.is_present:
        raise UserError(f"{location}: no such file; put it there or correct its path")
    try:
        return RawFile(location, groups, inside)
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


def some(names: Sequence[str], most: int = 8) -> str:
    """The first of some names, for messages."""
    listed = ", ".join(map(repr, names[:most]))
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
