"""The file of predictions of one part of the test table."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.files import fingerprint
from ..common.parquet import write_table
from ..dataset.store import H5Table
from ..families import Model

logger = logging.getLogger(__name__)


def marks_of_model(model: Model) -> dict[str, str]:
    """What each file of predictions says of its model."""
    return {"click_rate": repr(model.click_rate), "full_name": model.full_name}


def write_part(
    predictions: Path,
    logit: np.ndarray,
    test: H5Table,
    model_file: Path,
    model: Model,
    code: Sequence[str],
) -> None:
    """Write parquet columns id (string) and logit (float32) of the rows of a part.

    The file's marks name the model and its click rate, the part, the H5 file and the digests of
    the `code`.
    """
    ids = np.char.decode(test.column("id"), "utf-8")
    table = pa.table({"id": pa.array(ids, pa.string()), "logit": logit})
    about = {"model": fingerprint(model_file), "test": test.identity, "code": " ".join(code)}
    about |= {"part": test.source["fingerprint"], "test_file": test.source["file"]}
    about |= {"simulated": json.dumps(test.source["simulated"])}
    write_table(table, predictions, {**marks_of_model(model), **about})
    logger.info("%s rows predicted", f"{len(logit):,}")
