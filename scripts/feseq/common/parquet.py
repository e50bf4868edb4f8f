"""Parquet files of this workflow: written whole, with checksums that are compared on reading."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError, first_line, is_of_machine
from .files import written_beside

# Schema metadata of the stand-in's files; a rename or a copy does not make them real.
SIMULATED_MARK = {b"feseq": b"simulated"}


def write_table(table: pa.Table, path: Path, marks: Mapping[str, str] | None = None) -> None:
    """Write `table`, with `marks` as its schema's metadata."""
    if marks is not None:
        table = table.replace_schema_metadata(dict(marks))
    with written_beside(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """Read `columns`, and those of `optional` that exist, of a file that `write_table` wrote.

    Raises UserError for any other file.
    """
    try:
        columns = [*columns, *(n for n in pq.read_schema(path).names if n in optional)]
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        table.validate(full=True)
        return table.select(columns)
    except (pa.ArrowException, OSError, KeyError, UnicodeError) as error:
        if is_of_machine(error):
            raise
        raise UserError(
            f"{path}: not a complete file of this workflow ({first_line(error)}); delete it and "
            f"run the same command again, it is rebuilt"
        ) from None


def marks_of(table: pa.Table) -> dict[str, str]:
    """The marks of a table, its schema's metadata."""
    metadata = table.schema.metadata or {}
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in metadata.items()
    }
