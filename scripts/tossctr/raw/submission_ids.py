"""Checks that the test table, the predictions and the sample submission have the same, unique IDs.

DuckDB compares and joins many millions of IDs in little memory; larger data spill to a temporary
folder on disk.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyConnection

from ..common.errors import UserError, first_line, row_name
from ..common.files import Output, scratch_dir, write_json
from ..common.progress import Progress
from ..config.columns import Columns
from .formats import open_csv
from .location import Location, TableLocation
from .reading import RawTable
from .values import checked_ids, drop_zero_decimals

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
    """Check the test table in the files `raw`, and write the list of its parts to `parts` as JSON.

    A part has about `rows` rows. Raises UserError if a file lacks a column, a column's type differs
    between files, an ID is missing or repeated, or the sample submission has other IDs.
    """
    table = RawTable(TableLocation(raw, delimiter), columns=columns)
    table.check_columns(columns, columns.id)
    listing = Progress("listed", table.rows)

    def ids() -> Iterator[pa.Table]:
        for first_row, batch in table.stream([columns.id], _BATCH_ROWS):
            where = table.file_of_row(first_row)
            yield pa.table({"id": checked_ids(batch.column(0), first_row, columns.id, where)})
            listing.advance(len(batch))

    if columns.id:
        with id_database(parts, threads) as database:
            add_ids(database, "test", ids(), f"{table.location}: column {columns.id!r}")
            if sample_submission is not None:
                compare_sample_ids(database, sample_submission, columns.id, "test")
    write_json(parts, asdict(table.listing(rows)))


@contextmanager
def id_database(target: Path, threads: int = 1) -> Iterator[DuckDBPyConnection]:
    """Yield an empty DuckDB database in a temporary folder beside `target`.

    Raises UserError if DuckDB fails, for example on a full disk.
    """
    with scratch_dir(target) as folder:
        try:
            with duckdb.connect(folder / "ids.duckdb") as database:
                database.execute(f"SET memory_limit = '500MB'; SET threads = {threads}")
                database.execute("SET temp_directory = ?", [str(folder)])
                yield database
        except duckdb.Error as error:
            raise UserError(
                f"{target}: comparing its IDs failed ({first_line(error)}); if the disk of "
                f"{folder.parent} is full, free some space and run the same command again"
            ) from None


def add_ids(
    database: DuckDBPyConnection, name: str, pieces: Iterable[pa.Table], where: str
) -> None:
    """Write IDs into a new table `name` of the database, with columns `id` and `row` (from 0).

    `pieces` are Arrow tables with a string column `id`. Raises UserError if an ID is repeated;
    `where` names the file of the IDs in the message.
    """
    first = 0
    for i, piece in enumerate(pieces):
        numbers = pa.array(np.arange(first, first + len(piece)))
        rows = database.from_arrow(piece.append_column("row", numbers))
        rows.insert_into(name) if i else rows.create(name)
        first += len(piece)
    [(ids, example, row)] = database.sql(
        f"SELECT count(*), arg_min(id, row), min(row) FROM (SELECT id, min(row) AS row "
        f"FROM {name} GROUP BY id HAVING count(*) > 1)"
    ).fetchall()
    if ids:
        raise UserError(
            f"{where}: IDs that occur more than once: {ids:,}, such as {example!r}, first in "
            f"{row_name(row)}; a submission has one row per ID: remove the repeated rows"
        )


def compare_sample_ids(
    database: DuckDBPyConnection, path: str | Path, id_column: str, name: str
) -> None:
    """Raise UserError if a sample submission has other IDs than the table `name` of the database.

    Also raises UserError if an ID of the sample is repeated, or if the file `path` cannot be read.
    Writes the IDs of the sample into a new table `sample`, with columns `id` and `row` (from 0).
    """
    add_ids(database, "sample", sample_ids(path, id_column), str(path))
    differences = []
    for text, here, there in (("only in", "sample", name), ("not in", name, "sample")):
        query = f"SELECT count(*), arg_min(id, row) FROM {here} ANTI JOIN {there} USING (id)"
        [(count, example)] = database.sql(query).fetchall()
        if count:
            differences.append(f"IDs {text} the sample: {count:,}, such as {example!r}")
    if differences:
        raise UserError(
            f"{path}: {'; '.join(differences)}; use the sample submission of this test file, or "
            f"set `raw.sample_submission` to null"
        )


def sample_ids(path: str | Path, id_column: str) -> Iterator[pa.Table]:
    """Yield the IDs of a sample submission, in tables with the column `id`."""
    location = Location(path)
    with location.reading(location.state()):
        yield pa.table({"id": pa.array([], pa.string())})
        for batch in open_csv(location, [id_column]):
            ids = drop_zero_decimals(batch.column(0).cast(pa.string()).fill_null(""))
            yield pa.table({"id": ids})
