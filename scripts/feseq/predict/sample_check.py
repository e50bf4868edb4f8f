"""The rule `check_sample`: the sample submission belongs to the test file, before any training."""

import logging
from pathlib import Path

import pyarrow as pa

from ..common.files import write_json
from ..dataset.raw_text import checked_ids
from ..raw.reading import open_parquet
from .submission_ids import check_ids, check_unique, read_sample_ids

logger = logging.getLogger(__name__)

_BATCH_ROWS = 1 << 20


def check_sample(
    test: str | Path, sample_submission: str | Path, id_column: str, checked: Path
) -> None:
    """Write how many IDs the two files have (JSON); raises UserError unless they are the same."""
    wanted = read_sample_ids(sample_submission, id_column)
    file = open_parquet(test)
    parts = [
        checked_ids(batch.column(0), first_row, id_column, str(test))
        for first_row, batch in file.stream([id_column], _BATCH_ROWS)
    ]
    ids = pa.chunked_array(parts, pa.string())
    check_unique(ids, str(test))
    check_ids(wanted, ids, sample_submission, "in the test file", "IDs of the test file")
    write_json(checked, {"ids": len(ids)})
    logger.info("%s: the same %s IDs as in %s", sample_submission, f"{len(ids):,}", test)
