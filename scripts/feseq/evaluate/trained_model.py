"""FESeq's predictions of the validation rows, by which it is measured."""

from pathlib import Path

import numpy as np

from ..common.files import write_json
from ..dataset.feature_map import check_one_draw
from ..dataset.opening import Rows
from ..model.device import Machine
from ..predict.model_file import TrainedModel
from .mean_attention import mean_attention
from .valid_predictions import write_predictions


def predict_validation(
    model_file: Path,
    valid: Rows,
    predictions: Path,
    speed: Path,
    attention: Path,
    *,
    machine: Machine,
    full_name: str = "",
    verbosity: int = 0,
) -> None:
    """Write the predictions of rows it did not see, how fast they came, and what attention saw.

    `predictions` and `speed`: see `write_predictions`; `attention`: see `mean_attention` (JSON).
    """
    model = TrainedModel.load(model_file, full_name)
    source = model.source(valid, machine)
    check_one_draw(model.feature_map, source.table, source.table, full_name, model_file)

    def predict(blank: bool) -> np.ndarray:
        return model.predict(source, machine, blank_histories=blank, verbosity=verbosity)

    write_predictions(predictions, speed, source.table, predict, model.marks())
    write_json(attention, mean_attention(model.network, model.feature_map, source, machine))
