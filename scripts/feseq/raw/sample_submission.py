"""The sample submission: each ID of the test table once, in the order of the CSV."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ..common.errors import UserError
from ..common.ids import IdTables
from .location import Location
from .text import whole_numbers
from .text_file import open_csv

ID = pa.schema([("id", pa.string())])


def add_sample(tables: IdTables, path: str | Path, id_column: str) -> None:
    """Add the IDs of a sample submission as the table `sample`.

    Raises UserError if the file cannot be used, or an ID occurs twice.
    """
    tables.add("sample", ID.empty_table())
    for batch in sample_ids(path, id_column):
        tables.add("sample", pa.Table.from_batches([batch], ID))
    tables.require_unique("sample", str(path))


def sample_ids(path: str | Path, id_column: str) -> Iterator[pa.RecordBatch]:
    """The IDs of a sample submission, in batches of one column `id`.

    Raises UserError for a file that cannot be read, or is not UTF-8.
    """
    location = Location(path)
    with location.reading(location.state()), open_csv(location, [id_column]) as reader:
        for batch in reader:
            ids = whole_numbers(batch.column(0).cast(pa.string()))
            yield pa.RecordBatch.from_arrays([ids], schema=ID)


def check_same(tables: IdTables, name: str, path: str | Path, there: str) -> None:
    """Raise UserError unless the table, which holds the IDs `there`, has those of the sample."""
    differences = [
        f"{rows:,} {what}, such as {example!r}"
        for (rows, example), what in (
            (tables.missing("sample", name), f"of its IDs are not {there}"),
            (tables.missing(name, "sample"), f"IDs {there} are not in it"),
        )
        if rows
    ]
    if differences:
        raise UserError(
            f"{path}: {' and '.join(differences)}; it must belong to the test file: take the file "
            f"that came with it, or set raw.sample_submission to null"
        )
