"""The rule `check_sample`: the sample submission belongs to the test file, before any training."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ..common.errors import UserError
from ..common.files import write_json
from ..common.ids import id_tables
from ..dataset.raw_text import checked_ids
from ..raw.reading import open_parquet
from .submission_ids import ID, add_sample, check_same, check_unique

logger = logging.getLogger(__name__)

_BATCH_ROWS = 1 << 20


def check_sample(
    test: str | Path | Sequence[str], sample_submission: str | Path, id_column: str, checked: Path
) -> None:
    """Write how many IDs the two files have (JSON); raises UserError unless they are the same."""
    file = open_parquet(test)
    if file.rows == 0:
        raise UserError(f"{file.location}: the file has no rows; there is nothing to predict")
    with id_tables(checked) as tables:
        add_sample(tables, sample_submission, id_column)
        for first_row, batch in file.stream([id_column], _BATCH_ROWS):
            ids = checked_ids(batch.column(0), first_row, id_column, file.where(first_row))
            tables.add("test", pa.table([ids], ID))
        check_unique(tables, "test", str(file.location))
        check_same(tables, "test", sample_submission, "in the test file", "IDs of the test file")
    write_json(checked, {"ids": file.rows})
    logger.info("%s: the same %s IDs as in %s", sample_submission, f"{file.rows:,}", file.location)
