"""Parquet files: what footers say, and their rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .file import File

# A remote row group of at most this many bytes is fetched at once, since each request takes a
# while; a larger one, and a local one, is read in pieces, so that memory stays flat.
MOST_OF_GROUP = 1 << 30
# Bytes of one read of a column, by whether the file is remote.
_BUFFER = {False: 1 << 16, True: 1 << 22}
# The unit of Spark's INT96 times: in nanoseconds, the default, years after 2262 would wrap around.
_INT96 = "us"


class ParquetFile(File):
    """A parquet file; its row groups are read one after the other."""

    def _read_schema(self) -> pa.Schema:
        with self.location.open() as source:
            file = pq.ParquetFile(source, coerce_int96_timestamp_unit=_INT96)
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        self._group_rows = [group.num_rows for group in groups]
        self.is_empty = not sum(self._group_rows)
        self._largest = max((group.total_byte_size for group in groups), default=0)
        return file.schema_arrow

    @property
    def group_rows(self) -> list[int]:
        """The rows of the row groups."""
        return self._group_rows

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows that are read, at most `rows` at once, with these columns."""
        is_remote = self.location.is_remote
        at_once = is_remote and self._largest <= MOST_OF_GROUP
        with self.location.open() as source:
            parquet = pq.ParquetFile(
                source,
                pre_buffer=at_once,
                buffer_size=0 if at_once else _BUFFER[is_remote],
                page_checksum_verification=True,
                coerce_int96_timestamp_unit=_INT96,
            )
            ends = np.cumsum(self.group_rows).tolist()
            for group, end in enumerate(ends):
                row = end - self.group_rows[group]
                if end <= self.start or row >= self.stop:
                    continue
                for batch in parquet.iter_batches(rows, [group], names):
                    inside = batch[max(self.start - row, 0) : max(self.stop - row, 0)]
                    if len(inside):
                        yield inside
                    row += len(batch)
                    if row >= self.stop:
                        break
