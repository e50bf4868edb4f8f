"""Parquet files of this workflow: written atomically, with checksums that readers verify."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .files import atomic_write, reporting_damage

# Schema metadata of simulated files; a renamed or copied file keeps the mark.
SIMULATED_MARK = {b"feseq": b"simulated"}


def write_table(table: pa.Table, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write `table` atomically; `metadata`, if given, replaces the schema's metadata."""
    if metadata is not None:
        table = table.replace_schema_metadata(dict(metadata))
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """Read a parquet file that `write_table` wrote: `columns`, and those of `optional` that exist.

    Raises UserError if one of `columns` is missing or the file is damaged.
    """
    with reporting_damage(path):
        columns = [*columns, *(n for n in pq.read_schema(path).names if n in optional)]
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        table.validate(full=True)
        return table.select(columns)


def metadata_of(table: pa.Table) -> dict[str, str]:
    """The metadata of a table's schema as text."""
    metadata = table.schema.metadata or {}
    return {k.decode(errors="replace"): v.decode(errors="replace") for k, v in metadata.items()}
