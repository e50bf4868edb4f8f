"""What the AUC of boosting rests on; see `evaluate/importance.py`."""

from pathlib import Path

import numpy as np

from ..dataset.block import Block
from ..dataset.feature_map import check_one_draw, check_same_kind
from ..dataset.memory_table import MemoryTable
from ..dataset.mixed import Files, open_files
from ..evaluate.importance import write_importance
from .model_file import BoostedModel
from .prediction import predict_logits


def measure_boosting(
    model_file: Path, valid: Files, importance: Path, *, threads: int, full_name: str = ""
) -> None:
    """Write what boosting loses by each change of the rows of `valid`, see `write_importance`."""
    model = BoostedModel.load(model_file, full_name)
    feature_map = model.features.feature_map
    with open_files(valid) as table:
        check_same_kind(table, model.simulated)
        check_one_draw(feature_map, table, table, full_name, model_file)

        def predict(block: Block, *, only_numeric: bool) -> np.ndarray:
            return predict_logits(model, MemoryTable(table, block), threads=threads, verbosity=0)

        write_importance(importance, table, feature_map, lambda _: predict, full_name)
