"""The prediction of one shard of the test file."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.files import fingerprint
from ..common.parquet import write_table
from ..machine.runtime import Machine
from .model_file import TrainedModel

logger = logging.getLogger(__name__)


def predict_shard(
    model_file: Path,
    test_h5: Path,
    predictions: Path,
    *,
    start: int,
    stop: int,
    machine: Machine,
    code: Sequence[str] = (),
    verbosity: int = 0,
) -> None:
    """Write parquet columns id (string) and logit (float32) of test rows start to stop.

    The file's marks name the model, the test file, the rows and the digests of the `code`.
    """
    model = TrainedModel.load(model_file)
    source = model.source(test_h5, machine)
    source.encoder.warn_of_unseen(source.table.column("categorical", start, stop))
    logit = model.predict(source, machine, start=start, stop=stop, verbosity=verbosity)
    ids = np.char.decode(source.table.column("id", start, stop), "utf-8")
    table = pa.table({"id": pa.array(ids, pa.string()), "logit": logit})
    marks = model.marks() | {"model": fingerprint(model_file), "test": source.table.identity}
    marks |= {"start": str(start), "stop": str(stop), "rows": str(source.rows)}
    marks["code"] = " ".join(code)
    write_table(table, predictions, marks)
    logger.info("rows %s to %s predicted", f"{start:,}", f"{stop:,}")
