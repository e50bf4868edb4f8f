"""Predictions of boosting, for the validation rows and part by part for the test table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..common.ahead import map_ahead
from ..common.progress import progress
from ..dataset.encoding import FeatureEncoder
from ..dataset.feature_map import check_one_draw, check_same_kind
from ..dataset.opening import Rows, open_table
from ..dataset.store import H5Table
from ..evaluate.valid_predictions import write_predictions
from ..predict.part_file import write_part
from .features import read_blocks
from .matrix import finite
from .model_file import BoostedModel


def predict_validation(
    model_file: Path,
    valid_rows: Rows,
    predictions: Path,
    speed: Path,
    *,
    threads: int,
    full_name: str = "",
) -> None:
    """Write the predictions of rows it did not see, and their speed, see `write_predictions`."""
    model = BoostedModel.load(model_file, full_name)
    with open_table(valid_rows) as valid:
        check_same_kind(valid, model.simulated)
        check_one_draw(model.features.feature_map, valid, valid, full_name, model_file)

        def predict(blank: bool) -> np.ndarray:
            return predict_logits(model, valid, blank_histories=blank, threads=threads)

        write_predictions(predictions, speed, valid, predict, model.marks())


def predict_part(
    model_file: Path,
    test_h5: Path,
    predictions: Path,
    *,
    threads: int,
    full_name: str = "",
    code: Sequence[str] = (),
) -> None:
    """Predict the rows of a part, as `write_part` writes them."""
    model = BoostedModel.load(model_file, full_name)
    with H5Table(test_h5) as test:
        check_same_kind(test, model.simulated)
        encoder = FeatureEncoder(model.features.feature_map, test)
        encoder.warn_of_unseen(test.column("categorical"))
        logit = predict_logits(model, test, threads=threads)
        write_part(predictions, logit, test, model_file, model.marks(), code)


def predict_logits(
    model: BoostedModel,
    table: H5Table,
    *,
    blank_histories: bool = False,
    threads: int = 1,
    verbosity: int = 1,
) -> np.ndarray:
    """Logits float32 [rows], in file order; histories may be emptied."""
    features = model.features
    encoder = FeatureEncoder(features.feature_map, table)
    model.booster.set_param({"nthread": threads, "device": "cpu"})
    blocks = read_blocks(table, features.feature_map, features.config)
    matrices = map_ahead(
        lambda block: finite(features.matrix(encoder, block, blank_histories=blank_histories)),
        blocks,
        threads,
    )
    logits = [np.empty(0, np.float32)]
    with progress("predicted", table.rows, verbosity=verbosity) as predicting:
        for matrix in matrices:
            logits.append(
                model.booster.inplace_predict(
                    matrix, predict_type="margin", validate_features=False
                ).astype(np.float32)
            )
            predicting.advance(len(matrix))
    return np.concatenate(logits)
