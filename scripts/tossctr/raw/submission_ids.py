"""IDs of the test table, predictions and sample submission: checked to be unique and equal.

DuckDB compares and joins many millions of IDs in little memory. What does not fit goes to a folder
on disk, which is removed afterwards.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyConnection

from ..common.errors import UserError, first_line
from ..common.files import Output, scratch_dir, write_json
from ..common.progress import Progress
from ..config.columns import Columns
from .formats import likely_delimiter, open_csv
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
    """Write the list of a test table's parts, of about `rows` rows each, as JSON.

    Raises UserError if a file lacks a column, a column's type differs between files, an ID is
    missing or occurs twice, or the sample submission has other IDs.
    """
    table = RawTable(TableLocation(raw, delimiter), columns=columns)
    table.check_columns(columns, columns.id)
    if columns.id:
        _check_ids(table, columns.id, parts, sample_submission, threads)
    write_json(parts, asdict(table.listing(rows)))


def _check_ids(
    table: RawTable,
    id_column: str,
    parts: Path,
    sample_submission: str | Path | None,
    threads: int,
) -> None:
    """Raise UserError as `list_parts` does for IDs."""
    listing = Progress("listed", table.rows)

    def ids() -> Iterator[pa.Table]:
        for first_row, batch in table.stream([id_column], _BATCH_ROWS):
            where = table.where(first_row)
            yield pa.table({"id": checked_ids(batch.column(0), first_row, id_column, where)})
            listing.advance(len(batch))

    with id_database(parts, threads) as database:
        add_ids(database, "test", ids(), f"{table.location}: column {id_column!r}")
        if sample_submission is not None:
            add_sample(database, sample_submission, id_column, "test", "in the test file")


@contextmanager
def id_database(target: Path, threads: int = 1) -> Iterator[DuckDBPyConnection]:
    """Yield an empty database, which spills to disk beside `target`.

    Raises UserError if DuckDB fails, for example because the disk is full.
    """
    with scratch_dir(target) as folder:
        try:
            with duckdb.connect(folder / "ids.duckdb") as database:
                database.execute(f"SET memory_limit = '500MB'; SET threads = {threads}")
                database.execute("SET temp_directory = ?", [str(folder)])
                yield database
        except duckdb.Error as error:
            raise UserError(
                f"{target}: its IDs cannot be compared in {folder.parent} ({first_line(error)}); "
                f"is the disk full? Free some space and run the same command again"
            ) from None


def add_ids(
    database: DuckDBPyConnection, name: str, pieces: Iterable[pa.Table], where: str
) -> None:
    """Create table `name` from `pieces` with a string column `id`; `row` numbers its rows from 0.

    Raises UserError if an ID occurs twice; the message calls the table `where`.
    """
    first = 0
    for i, piece in enumerate(pieces):
        numbers = pa.array(np.arange(first, first + len(piece)))
        rows = database.from_arrow(piece.append_column("row", numbers))
        rows.insert_into(name) if i else rows.create(name)
        first += len(piece)
    ids, example, row = answer(
        database,
        f"SELECT count(*), arg_min(id, row), min(row) FROM (SELECT id, min(row) AS row "
        f"FROM {name} GROUP BY id HAVING count(*) > 1)",
    )
    if ids:
        raise UserError(
            f"{where}: {ids:,} IDs occur more than once, for example {example!r} (first at row "
            f"{row}); a submission has one row per ID: remove the repeated rows"
        )


def answer(database: DuckDBPyConnection, query: str) -> tuple:
    """The first row of a query's result."""
    return database.execute(query).fetchall()[0]


def add_sample(
    database: DuckDBPyConnection, path: str | Path, id_column: str, name: str, there: str
) -> None:
    """Add the IDs of a sample submission as the table `sample`.

    Raises UserError if the file cannot be used, an ID occurs twice, or the table `name` has other
    IDs; `there` says in the message where that table's IDs are from.
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
    if texts := [f"{n:,} {what}, such as {id!r}" for n, what, id in differences if n]:
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
        for batch in open_csv(location, [id_column], delimiter=likely_delimiter(location)):
            ids = whole_numbers(batch.column(0).cast(pa.string()).fill_null(""))
            yield pa.table({"id": ids})
