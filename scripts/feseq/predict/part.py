"""Predictions of one part of the test table, and their file."""

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..catalog.loading import load_model
from ..common.errors import UserError
from ..common.files import Output, fingerprint, whole_file
from ..common.parquet import write_table
from ..config.runtime import DEFAULT_RUNTIME, Runtime
from ..family.model import Model
from ..features.encoding import FeatureEncoder
from ..storage.opening import open_table
from ..storage.table import Table

logger = logging.getLogger(__name__)


def predict_part(
    model: Path,
    h5: Path,
    predictions: Output,
    *,
    full_name: str = "",
    runtime: Runtime = DEFAULT_RUNTIME,
    threads: int = 1,
    code: str = "",
) -> None:
    """Write parquet columns id (string) and logit (float32) of the rows of a part.

    The file's metadata has the part, the model's file, the digest `code` and `model_metadata`.
    """
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    with open_table(h5) as test:
        if "draw" in test.source:
            raise UserError(f"{h5}: has no test rows; give an H5 file of the test table")
        logit = predict_table(loaded, test)
        metadata = {
            **model_metadata(loaded),
            "model": fingerprint(model),
            "part": test.source["fingerprint"],
            "code": code,
            "simulated": json.dumps(test.source["simulated"]),
        }
        write_table(pa.table({"id": ids_of(test), "logit": logit}), predictions, metadata)
    logger.info("%s rows predicted", f"{len(logit):,}")


def predict_table(model: Model, table: Table, *, is_first: bool = True) -> np.ndarray:
    """Logits float32 [rows]; if the part `is_first`, warns of values that are mostly unknown."""
    if is_first:
        FeatureEncoder(model.about.feature_map, table).warn_of_unseen(table)
    return model.predict(table)


def ids_of(table: Table) -> pa.StringArray:
    """The IDs of a test table's rows."""
    # A block at a time: NumPy makes each ID as wide as the longest.
    with whole_file(table.path):
        texts = [
            pa.array(table.column("id", start, start + table.block_rows), pa.binary()).cast(
                pa.string()
            )
            for start in range(0, max(1, table.rows), table.block_rows)
        ]
        return pa.concat_arrays(texts)


def model_metadata(model: Model) -> dict[str, str]:
    """The metadata of the model for its files of predictions."""
    return {"click_rate": repr(model.about.click_rate), "full_name": model.about.full_name}
