"""Parquet files: what footers say, and their rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..common.errors import UserError, first_line
from .file import Contents, File, Reading
from .location import Location

# A remote row group of at most this many bytes is fetched at once, since each request takes a
# while; a larger one, and a local one, is read in pieces, so that memory stays flat.
MOST_OF_GROUP = 1 << 30
# Bytes of one read of a column, by whether the file is remote.
_BUFFER = {False: 1 << 16, True: 1 << 22}
# The unit of Spark's INT96 times: in nanoseconds, the default, years after 2262 would wrap around.
_INT96 = "us"


def contents(location: Location, version: str, how: Reading) -> Contents:
    """What the footer says."""
    with location.open() as source:
        try:
            file = pq.ParquetFile(source, coerce_int96_timestamp_unit=_INT96)
        except pa.ArrowInvalid as error:
            if location.name.endswith(".parquet") or "." not in location.name:
                raise
            raise UserError(
                f"{location}: is no parquet file ({first_line(error)}), and the ending of its name "
                f"is none of another format's (config/README.md); rename or convert it"
            ) from None
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        largest = max((group.total_byte_size for group in groups), default=0)
        rows = [group.num_rows for group in groups]
        return Contents(source.size(), file.schema_arrow, rows, largest)


def batches(file: File, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a file that are read, one row group after the other."""
    with file.location.open() as source:
        is_remote = file.location.is_remote
        at_once = is_remote and file.contents.largest_group <= MOST_OF_GROUP
        parquet = pq.ParquetFile(
            source,
            pre_buffer=at_once,
            buffer_size=0 if at_once else _BUFFER[is_remote],
            page_checksum_verification=True,
            coerce_int96_timestamp_unit=_INT96,
        )
        group_rows = file.contents.group_rows
        ends = np.cumsum(group_rows)
        for group, row in enumerate((ends - group_rows).tolist()):
            if ends[group] <= file.start:
                continue
            if row >= file.stop:
                break
            for batch in parquet.iter_batches(rows, [group], names):
                if len(inside := file.clip(batch, row)):
                    yield inside
                row += len(batch)
                if row >= file.stop:
                    break
