"""The validation rows' predictions, of either family of models."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.files import write_json
from ..common.parquet import write_table
from ..dataset.store import H5Table


def write_predictions(
    predictions: Path,
    speed: Path,
    valid: H5Table,
    predict: Callable[[bool], np.ndarray],
    marks: Mapping[str, str],
) -> None:
    """Write a model's logits of the validation rows, and how fast they came.

    `predict` gives them, with every history emptied if called with true. `predictions`: parquet
    columns row, label, judges, logit, logit_blanked; `speed`: rows, seconds, samples_per_second
    (JSON).
    """
    started = time.perf_counter()
    logit = predict(False)
    seconds = time.perf_counter() - started
    table = {"row": valid.column("row"), "label": valid.column("label"), "judges": valid.judges}
    table |= {"logit": logit, "logit_blanked": predict(True)}
    rate = len(logit) / seconds
    write_json(speed, {"rows": len(logit), "seconds": seconds, "samples_per_second": rate})
    write_table(pa.table(table), predictions, marks)
