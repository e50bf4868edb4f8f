"""Predictions of boosting."""

import numpy as np
import xgboost

from ..common.ahead import map_ahead
from ..common.progress import progress
from ..dataset.encoding import FeatureEncoder
from ..dataset.table import Table
from .features import Features, read_blocks
from .matrix import finite


def predict_logits(
    booster: xgboost.Booster,
    features: Features,
    table: Table,
    *,
    blank_histories: bool = False,
    threads: int = 1,
    verbosity: int = 0,
) -> np.ndarray:
    """Logits float32 [rows], in file order; histories may be emptied."""
    encoder = FeatureEncoder(features.feature_map, table)
    booster.set_param({"nthread": threads, "device": "cpu"})
    blocks = read_blocks(table, features.feature_map, features.config)
    matrices = map_ahead(
        lambda block: finite(features.matrix(encoder, block, blank_histories=blank_histories)),
        blocks,
        threads,
    )
    logits = [np.empty(0, np.float32)]
    with progress("predicted", table.rows, verbosity=verbosity) as predicting:
        for matrix in matrices:
            margin = booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
            logits.append(margin.astype(np.float32))
            predicting.advance(len(matrix))
    return np.concatenate(logits)
