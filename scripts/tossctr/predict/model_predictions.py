"""Predict validation rows, or a part of the test table, with a model."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..catalog.loading import load_model
from ..common.errors import UserError
from ..common.files import Output, fingerprint, reporting_damage
from ..common.logits import mean_logit, require_finite
from ..common.parquet import write_table
from ..config.declared import DEFAULT_RUNTIME, Runtime
from ..datasets.opening import open_table
from ..datasets.table import Table
from ..features.encoding import FeatureEncoder
from ..features.feature_map import check_same_draw
from ..models.trained import Model

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
    """Predict the part `h5` of the test table; write columns id (string) and logit (float32).

    The metadata of `predictions` (parquet) has the model's click rate and name, digests of the part
    and the model file, and `code`, a digest of the code.
    """
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    with open_table(h5) as test:
        if "draw" in test.source:
            raise UserError(f"{h5}: has no test rows; give an H5 file made from the test table")
        ids, logit = predict_rows([loaded], [1.0], test)
        metadata = {
            **model_metadata(loaded),
            "model": fingerprint(model),
            "part": test.source["fingerprint"],
            "code": code,
            "simulated": json.dumps(test.source["simulated"]),
        }
    write_table(pa.table({"id": ids, "logit": logit}), predictions, metadata)
    logger.info("%s rows predicted", f"{len(logit):,}")


def predict_validation(
    model: Path,
    valid: list[Path],
    predictions: Output,
    *,
    full_name: str = "",
    runtime: Runtime = DEFAULT_RUNTIME,
    threads: int = 1,
) -> None:
    """Predict validation rows; write parquet columns row, label, logit and logit_ablated.

    logit_ablated is the logit with all histories empty. Raises UserError if a logit is not finite,
    or if the rows and the model's train rows are not from the same draw.
    """
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    with open_table(valid) as table:
        check_same_draw(loaded.about.feature_map, table, table, full_name, model)
        columns = {name: table.column(name) for name in ("row", "label")}
        columns["logit"] = columns["logit_ablated"] = loaded.predict(table)
        if table.sequence_columns:
            columns["logit_ablated"] = loaded.predict(table, ablate_histories=True)
    for name in ("logit", "logit_ablated"):
        require_finite(columns[name])
    write_table(pa.table(columns), predictions, model_metadata(loaded))


def predict_rows(
    models: Sequence[Model], weights: Sequence[float], table: Table
) -> tuple[pa.StringArray, np.ndarray]:
    """The IDs of a table, and the weighted mean of the models' logits, float32 [rows].

    Warns of columns whose values are mostly unknown to a model. Raises UserError if a logit is not
    finite.
    """
    for model in models:
        FeatureEncoder(model.about.feature_map, table).warn_of_unknown_values(table)
    logit = mean_logit([model.predict(table) for model in models], weights)
    with reporting_damage(table.path):
        ids = pa.array(table.column("id"), pa.binary()).cast(pa.string())
    require_finite(logit, ids)
    return ids, logit


def model_metadata(model: Model) -> dict[str, str]:
    """A model's click rate and full name, as metadata of prediction files."""
    return {"click_rate": repr(model.about.click_rate), "full_name": model.about.full_name}
