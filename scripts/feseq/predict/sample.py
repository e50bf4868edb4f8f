"""The sample submission: it has each ID of the test file once, in the order of the CSV."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from ..common.errors import UserError
from ..common.files import Output, write_json
from ..common.ids import IdTables, id_tables
from ..dataset.raw_text import checked_ids
from ..raw.location import Location
from ..raw.reading import RawTable

logger = logging.getLogger(__name__)

ID = pa.schema([("id", pa.string())])
_BATCH_ROWS = 1 << 20
# One request for a remote file.
_BLOCK_BYTES = 1 << 23


def check_sample(raw: list[str], sample_submission: str, id_column: str, checked: Output) -> None:
    """Write how many IDs sample and test table have (JSON); UserError unless they are the same."""
    file = RawTable(raw)
    if file.rows == 0:
        raise UserError(f"{file.location}: the file has no rows; there is nothing to predict")
    with id_tables(checked) as tables:
        add_sample(tables, sample_submission, id_column)
        for first_row, batch in file.stream([id_column], _BATCH_ROWS):
            ids = checked_ids(batch.column(0), first_row, id_column, file.where(first_row))
            tables.add("test", pa.table([ids], ID))
        tables.require_unique("test", str(file.location))
        check_same(tables, "test", sample_submission, "in the test file")
    write_json(checked, {"ids": file.rows})
    logger.info("%s: the same %s IDs as in %s", sample_submission, f"{file.rows:,}", file.location)


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
