"""A model's predictions of the validation rows, by which it is measured."""

import time
from pathlib import Path

import pyarrow as pa

from ..common.errors import UserError
from ..common.files import write_json
from ..common.parquet import write_table
from ..machine.runtime import Machine
from ..predict.model_file import TrainedModel
from .mean_attention import mean_attention


def predict_validation(
    model_file: Path,
    valid_h5: Path,
    predictions: Path,
    speed: Path,
    attention: Path,
    *,
    machine: Machine,
    verbosity: int = 0,
) -> None:
    """Write the validation rows' predictions, how fast they came, and what attention looked at.

    `predictions`: parquet columns row, label, logit, and logit_blanked: histories emptied; `speed`:
    rows, seconds and samples_per_second (JSON); `attention`: see `mean_attention` (JSON).
    """
    model = TrainedModel.load(model_file)
    source = model.source(valid_h5, machine)
    if model.feature_map.fitted_on not in ("", source.table.identity):
        raise UserError(
            f"{valid_h5}: drawn from other rows than those of {model_file}, which may have been "
            f"trained on some of these; delete the model and run the same command again"
        )
    started = time.perf_counter()
    logit = model.predict(source, machine, verbosity=verbosity)
    seconds = time.perf_counter() - started
    table = pa.table(
        {
            "row": source.table.column("row"),
            "label": source.table.column("label"),
            "logit": logit,
            "logit_blanked": model.predict(
                source, machine, blank_sequences=True, verbosity=verbosity
            ),
        }
    )
    write_json(
        speed,
        {"rows": len(logit), "seconds": seconds, "samples_per_second": len(logit) / seconds},
    )
    write_json(attention, mean_attention(model.network, model.feature_map, source, machine))
    write_table(table, predictions, model.marks())
