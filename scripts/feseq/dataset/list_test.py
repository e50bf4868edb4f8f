"""The rule `list_test`: the parts of the test table, after what can be checked of it as a whole."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ..common.errors import UserError
from ..common.files import Output, write_json
from ..common.ids import id_tables
from ..common.progress import Progress
from ..config.columns import Columns
from ..raw.reading import RawTable
from .raw_text import checked_ids

_BATCH_ROWS = 1 << 17


def list_test(
    raw: str | Path | Sequence[str],
    columns: Columns,
    parts: Output,
    *,
    rows: int,
    threads: int = 1,
) -> None:
    """Write the parts of about `rows` rows that a test table is converted in, as JSON.

    Raises UserError if a file lacks a column or has it in another type than the others, there is no
    row, or an ID is missing or occurs twice.
    """
    file = RawTable(raw)
    file.check_columns(columns, columns.id)
    if file.rows == 0:
        raise UserError(f"{file.location}: the file has no rows; there is nothing to predict")
    listing = Progress("listed", file.rows)
    with id_tables(parts, threads) as tables:
        for first_row, batch in file.stream([columns.id], _BATCH_ROWS):
            ids = checked_ids(batch.column(0), first_row, columns.id, file.where(first_row))
            tables.add("test", pa.table({"id": ids}))
            listing.advance(len(ids))
        tables.require_unique("test", f"{file.location}: column {columns.id!r}")
    write_json(parts, file.listing(rows).as_json())
