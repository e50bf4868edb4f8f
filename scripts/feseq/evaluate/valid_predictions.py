"""The file valid_predictions.parquet, from which models are measured, mixed and compared."""

from pathlib import Path

import pyarrow as pa

from ..common.parquet import read_table


def read_predictions(path: Path) -> pa.Table:
    """A model's validation predictions: row, label, logit, and logit_blanked where there is one."""
    return read_table(path, ("row", "label", "logit"), optional=("logit_blanked",))
