"""Tables of many millions of IDs, compared and joined by DuckDB in little memory.

What does not fit goes to a folder on disk, which is removed afterwards.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from .errors import UserError, first_line
from .files import folder_beside


@contextmanager
def id_tables(target: Path, threads: int = 1) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an empty database; what exceeds the memory is kept beside `target`.

    Raises UserError if DuckDB fails, for example because the disk is full.
    """
    with folder_beside(target) as folder:
        try:
            with duckdb.connect(folder / "ids.duckdb") as database:
                database.execute(f"SET memory_limit = '500MB'; SET threads = {threads}")
                database.execute("SET temp_directory = ?", [str(folder)])
                yield database
        except duckdb.Error as error:
            raise UserError(
                f"{target}: its IDs cannot be compared in {folder.parent} ({first_line(error)}); "
                f"is the disk full? The same command starts again"
            ) from None


def add_ids(
    database: duckdb.DuckDBPyConnection, name: str, pieces: Iterable[pa.Table], where: str
) -> None:
    """Create a table of rows with a string column `id`, numbered from 0 on as `row`.

    Raises UserError if an ID occurs twice; messages call the rows `where`.
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


def answer(database: duckdb.DuckDBPyConnection, query: str) -> tuple:
    """The first row that a query gives."""
    return database.execute(query).fetchall()[0]
