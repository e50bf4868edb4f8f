"""The parts of the test table, after the checks of the whole table (rule `list_parts`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from ..common.files import Output, write_json
from ..common.ids import add_ids, id_tables
from ..common.progress import Progress
from ..config.columns import Columns
from .location import TableLocation
from .reading import RawTable
from .sample_submission import add_sample
from .text import checked_ids

_BATCH_ROWS = 1 << 17


def list_parts(
    raw: str | Path | Sequence[str],
    columns: Columns,
    parts: Output,
    *,
    rows: int,
    sample_submission: str | Path | None = None,
    delimiter: str | None = None,
    threads: int = 1,
) -> None:
    """Write a test table's parts of about `rows` rows, as JSON.

    Raises UserError if a file lacks a column or has it in another type than the others, an ID is
    missing or occurs twice, or the sample submission has other IDs.
    """
    file = RawTable(TableLocation(raw, delimiter), columns=columns)
    file.check_columns(columns, columns.id)
    listing = Progress("listed", file.rows)

    def pieces() -> Iterator[pa.Table]:
        for first_row, batch in file.stream([columns.id], _BATCH_ROWS):
            ids = checked_ids(batch.column(0), first_row, columns.id, file.where(first_row))
            yield pa.table({"id": ids})
            listing.advance(len(ids))

    with id_tables(parts, threads) as database:
        add_ids(database, "test", pieces(), f"{file.location}: column {columns.id!r}")
        if sample_submission is not None:
            add_sample(database, sample_submission, columns.id, "test", "in the test file")
    write_json(parts, file.listing(rows).as_json())
