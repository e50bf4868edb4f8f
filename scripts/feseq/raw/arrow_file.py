"""Arrow IPC files, which Feather (version 2) is another name of."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from ..common.errors import UserError, first_line
from .file import Contents, File, Reading
from .location import Location
from .version import remembered_rows


def contents(location: Location, version: str, how: Reading) -> Contents:
    """The schema, and the rows of each record batch, which only the batches know."""
    with location.open() as source:
        try:
            schema = ipc.open_file(source).schema
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{location}: cannot be read: {first_line(error)}; copy the file again or, if it "
                f"is an Arrow stream or Feather version 1, write it as parquet"
            ) from None
        rows = remembered_rows(version, "arrow", lambda: _rows(source, schema))
        return Contents(source.size(), schema, rows)


def batches(file: File, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a file that are read, one record batch after the other."""
    with file.location.open() as source:
        schema, row = file.schema, 0
        # Without a column, a batch would not tell its rows.
        fields = [schema.get_field_index(name) for name in names] or [_smallest(schema)]
        reader = _open(source, fields)
        for group, count in enumerate(file.contents.group_rows):
            if row < file.stop and row + count > file.start:
                batch = reader.get_batch(group)
                # Arrow trusts offsets, and would read behind the end of a damaged file's buffers.
                batch.validate(full=True)
                batch = file.clip(batch, row)
                for start in range(0, len(batch), rows):
                    yield batch.slice(start, rows)
            row += count


def _rows(source: pa.NativeFile, schema: pa.Schema) -> list[int]:
    reader = _open(source, [_smallest(schema)] if len(schema) else [])
    return [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]


def _open(source: pa.NativeFile, fields: Sequence[int]) -> ipc.RecordBatchFileReader:
    options = ipc.IpcReadOptions(included_fields=sorted(fields), use_threads=False)
    return ipc.open_file(source, options=options)


def _smallest(schema: pa.Schema) -> int:
    """The column with fewest bytes in a row, as far as types tell."""

    def width(each: pa.DataType) -> float:
        try:
            return each.bit_width
        except ValueError:  # text, lists
            return np.inf

    widths = [width(each) for each in schema.types]
    return int(np.argmin(widths))
