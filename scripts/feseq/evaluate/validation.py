"""The validation rows' predictions, of either family of models."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import write_json
from ..common.parquet import write_table
from ..dataset.feature_map import FeatureMap
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


def check_drawn_together(valid: H5Table, feature_map: FeatureMap, model_file: Path) -> None:
    """Raise UserError if a model's train rows may be among these validation rows."""
    if feature_map.fitted_on != valid.identity:
        raise UserError(
            f"{valid.path}: drawn from other rows than those of {model_file}, which may have been "
            f"trained on some of these; delete the model and run the same command again"
        )
