"""The sample submission: each ID of the test table once, in the order of the CSV."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from duckdb import DuckDBPyConnection

from ..common.errors import UserError
from ..common.ids import add_ids, answer
from .location import Location
from .text import whole_numbers
from .text_file import open_csv


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
    with location.reading(location.state()), open_csv(location, [id_column]) as reader:
        yield pa.table({"id": pa.array([], pa.string())})
        for batch in reader:
            ids = whole_numbers(batch.column(0).cast(pa.string()).fill_null(""))
            yield pa.table({"id": ids})
