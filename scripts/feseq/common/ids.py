"""Tables of many millions of IDs, compared and joined by DuckDB in little memory.

What does not fit goes to a folder on disk, which is removed afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from .errors import UserError, first_line
from .files import folder_beside

MEMORY = "500MB"
_BATCH_ROWS = 1 << 17


class IdTables:
    """Tables with a string column `id`; each row has its number, from 0 on, as `row`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._rows: dict[str, int] = {}
        self._waiting: dict[str, list[pa.Table]] = {}

    def add(self, name: str, rows: pa.Table) -> None:
        """Append rows to a table; the first rows create it."""
        waiting = self._waiting.setdefault(name, [])
        waiting.append(rows)
        if sum(map(len, waiting)) >= _BATCH_ROWS:
            self._insert(name)

    def _insert(self, name: str) -> None:
        rows = pa.concat_tables(self._waiting.pop(name))
        first = self._rows.get(name, 0)
        numbers = pa.array(np.arange(first, first + len(rows)))
        self._connection.register("added", rows.append_column("row", numbers))
        into = f"INSERT INTO {name}" if name in self._rows else f"CREATE TABLE {name} AS"
        self._connection.execute(f"{into} SELECT * FROM added").fetchall()
        self._connection.unregister("added")
        self._rows[name] = first + len(rows)

    def rows(self, name: str) -> int:
        """Rows of a table."""
        return self.ask(f"SELECT count(*) FROM {name}")[0]

    def ask(self, query: str) -> tuple:
        """The first row that a query gives."""
        return self._asked(query).fetchall()[0]

    def stream(self, query: str) -> Iterator[pa.RecordBatch]:
        """The rows that a query gives, in batches of one row or more."""
        return (batch for batch in self._asked(query).to_arrow_reader(_BATCH_ROWS) if len(batch))

    def _asked(self, query: str) -> duckdb.DuckDBPyRelation:
        for name in [*self._waiting]:
            self._insert(name)
        return self._connection.sql(query)

    def require_unique(self, name: str, where: str) -> None:
        """Raise UserError if an ID occurs twice in a table, which messages call `where`."""
        repeated = f"SELECT id, min(row) AS row FROM {name} GROUP BY id HAVING count(*) > 1"
        ids, example, row = self.ask(
            f"SELECT count(*), arg_min(id, row), min(row) FROM ({repeated})"
        )
        if ids:
            raise UserError(
                f"{where}: {ids:,} IDs occur more than once, for example {example!r} (first at row "
                f"{row}); a submission has one row per ID: remove the repeated rows"
            )

    def missing(self, name: str, other: str) -> tuple[int, str | None]:
        """How many rows of a table have an ID that another lacks, and the first such ID."""
        return self.ask(
            f"SELECT count(*), arg_min(id, row) FROM {name} ANTI JOIN {other} USING (id)"
        )


@contextmanager
def id_tables(target: Path, threads: int = 1) -> Iterator[IdTables]:
    """Yield an empty collection of tables; what exceeds the memory is kept beside `target`.

    Raises UserError if DuckDB fails, for example because the disk is full.
    """
    with folder_beside(target) as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "temp_directory": str(folder),
            "threads": threads,
        }
        try:
            with duckdb.connect(folder / "ids.duckdb", config=settings) as connection:
                yield IdTables(connection)
        except duckdb.Error as error:
            raise UserError(
                f"{target}: its IDs cannot be compared in {folder.parent} ({first_line(error)}); "
                f"is the disk full? The same command starts again"
            ) from None
