"""The file of predictions of one shard of the test file, of either family of models."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.files import fingerprint
from ..common.parquet import write_table
from ..dataset.store import H5Table

logger = logging.getLogger(__name__)


def write_shard(
    predictions: Path,
    logit: np.ndarray,
    test: H5Table,
    rows: tuple[int, int],
    model_file: Path,
    marks: Mapping[str, str],
    code: Sequence[str],
) -> None:
    """Write parquet columns id (string) and logit (float32) of the test rows from one to another.

    The file's marks, beside those given, name the model, the test file, the rows and the digests of
    the `code`.
    """
    start, stop = rows
    ids = np.char.decode(test.column("id", start, stop), "utf-8")
    table = pa.table({"id": pa.array(ids, pa.string()), "logit": logit})
    about = {"model": fingerprint(model_file), "test": test.identity, "code": " ".join(code)}
    about |= {"test_file": test.source["file"], "simulated": json.dumps(test.source["simulated"])}
    about |= {"start": str(start), "stop": str(stop), "rows": str(test.rows)}
    write_table(table, predictions, {**marks, **about})
    logger.info("rows %s to %s predicted", f"{start:,}", f"{stop:,}")
