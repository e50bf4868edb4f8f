"""IDs of the test table and of the sample submission: each once, and the same in both."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from duckdb import DuckDBPyConnection

from ..common.errors import UserError
from ..common.files import Output, write_json
from ..common.ids import add_ids, answer, id_tables
from ..common.progress import Progress
from ..config.columns import Columns
from .formats import open_csv
from .location import Location, TableLocation
from .reading import RawTable
from .values import checked_ids, whole_numbers

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
    table = RawTable(TableLocation(raw, delimiter), columns=columns)
    table.check_columns(columns, columns.id)
    listing = Progress("listed", table.rows)

    def ids() -> Iterator[pa.Table]:
        for first_row, batch in table.stream([columns.id], _BATCH_ROWS):
            where = table.where(first_row)
            yield pa.table({"id": checked_ids(batch.column(0), first_row, columns.id, where)})
            listing.advance(len(batch))

    with id_tables(parts, threads) as database:
        add_ids(database, "test", ids(), f"{table.location}: column {columns.id!r}")
        if sample_submission is not None:
            add_sample(database, sample_submission, columns.id, "test", "in the test file")
    write_json(parts, asdict(table.listing(rows)))


def add_sample(
    database: DuckDBPyConnection, path: str | Path, id_column: str, name: str, there: str
) -> None:
    """Add the IDs of a sample submission as the table `sample`.

    Raises UserError if the file cannot be used, an ID occurs twice, or the table `name`, which
    holds the IDs `there`, has other IDs.
    """
    add_ids(database, "sample", sample_ids(path, id_column), str(path))
    is_lacking, is_extra = (f"FILTER (WHERE {table}.row IS NULL)" for table in (name, "sample"))
    lacking, one, extra, other, rows, rows_there = answer(
        database,
        f"SELECT count(*) {is_lacking}, arg_min(sample.id, sample.row) {is_lacking}, "
        f"count(*) {is_extra}, arg_min({name}.id, {name}.row) {is_extra}, "
        f"count(sample.row), count({name}.row) FROM sample FULL JOIN {name} USING (id)",
    )
    differences = [(lacking, f"of its IDs are not {there}", one)]
    differences.append((extra, f"IDs {there} are not in it", other))
    texts = [f"{count:,} {what}, such as {id!r}" for count, what, id in differences if count]
    if texts:
        raise UserError(
            f"{path}: {' and '.join(texts)} ({rows:,} IDs in it, {rows_there:,} {there}); it must "
            f"belong to the test file: take the file that came with it, or set "
            f"raw.sample_submission to null"
        )


def sample_ids(path: str | Path, id_column: str) -> Iterator[pa.Table]:
    """The IDs of a sample submission, in tables of one column `id`.

    Raises UserError for a file that cannot be read, or is not UTF-8.
    """
    location = Location(path)
    with location.reading(location.state()):
        yield pa.table({"id": pa.array([], pa.string())})
        for batch in open_csv(location, [id_column]):
            ids = whole_numbers(batch.column(0).cast(pa.string()).fill_null(""))
            yield pa.table({"id": ids})
