"""The rule `list_test`: the parts of the test table, after what can be checked of it as a whole.

The sample submission has each ID of the test table once, in the order of the CSV.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from ..common.errors import UserError
from ..common.files import Output, write_json
from ..common.ids import IdTables, id_tables
from ..common.progress import Progress
from ..config.columns import Columns
from ..raw.location import Location
from ..raw.reading import RawTable
from .raw_text import checked_ids

ID = pa.schema([("id", pa.string())])
_BATCH_ROWS = 1 << 17
# One request for a remote file.
_BLOCK_BYTES = 1 << 23


def list_test(
    raw: str | Path | Sequence[str],
    columns: Columns,
    parts: Output,
    *,
    rows: int,
    sample_submission: str | Path | None = None,
    threads: int = 1,
) -> None:
    """Write the parts of about `rows` rows that a test table is converted in, as JSON.

    Raises UserError if a file lacks a column or has it in another type than the others, an ID is
    missing or occurs twice, or the sample submission has other IDs: before days of training.
    """
    file = RawTable(raw)
    file.check_columns(columns, columns.id)
    listing = Progress("listed", file.rows)
    with id_tables(parts, threads) as tables:
        for first_row, batch in file.stream([columns.id], _BATCH_ROWS):
            ids = checked_ids(batch.column(0), first_row, columns.id, file.where(first_row))
            tables.add("test", pa.table([ids], ID))
            listing.advance(len(ids))
        tables.require_unique("test", f"{file.location}: column {columns.id!r}")
        if sample_submission is not None:
            add_sample(tables, sample_submission, columns.id)
            check_same(tables, "test", sample_submission, "in the test file")
    write_json(parts, file.listing(rows).as_json())


def add_sample(tables: IdTables, path: str | Path, id_column: str) -> None:
    """The unchanged ID strings of a sample submission as the table `sample`.

    Raises UserError if the file is unusable, or an ID stands in it twice.
    """
    tables.add("sample", ID.empty_table())
    for batch in sample_ids(path, id_column):
        tables.add("sample", pa.Table.from_batches([batch], ID))
    tables.require_unique("sample", str(path))


def sample_ids(path: str | Path, id_column: str) -> Iterator[pa.RecordBatch]:
    """The IDs of a sample submission, in batches of one column `id`."""
    location = Location(path)
    with location.reading(location.version), location.open() as file:
        reader = pacsv.open_csv(
            file,
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                include_columns=[id_column],
                column_types={id_column: pa.string()},
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield batch.rename_columns(ID.names)


def check_same(tables: IdTables, name: str, path: str | Path, there: str) -> None:
    """Raise UserError unless the table, which holds the IDs `there`, has those of the sample."""
    complaints = [
        f"{rows:,} {what}, such as {example!r}"
        for (rows, example), what in (
            (tables.missing("sample", name), f"of its IDs are not {there}"),
            (tables.missing(name, "sample"), f"IDs {there} are not in it"),
        )
        if rows
    ]
    if complaints:
        raise UserError(
            f"{path}: {' and '.join(complaints)} ({tables.rows('sample'):,} IDs in it, "
            f"{tables.rows(name):,} {there}); it must belong to the test file: take the file that "
            f"came with it, or move it away (raw.sample_submission) to submit in the order of the "
            f"test file"
        )
