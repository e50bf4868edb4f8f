"""The file valid_predictions.parquet, from which models are measured, blended and compared.

It has the validation rows, followed by any holdout rows: row int64, label uint8, holdout bool,
logit float32. Models also have logit_ablated, with empty histories, and blends logit_best, of their
best model.

Metrics are measured on the holdout rows: `read_predictions(path)`. Whatever is fitted or chosen
after the training, such as the weights of a blend, uses the validation rows:
`read_predictions(path, VALIDATION)`. Without holdout rows, both return all rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.logits import require_finite
from ..common.parquet import metadata_of, read_table, write_table
from ..config.names import check_name
from ..sampling.selection import HOLDOUT, VALIDATION
from ..storage.table import Table


def write_logits(
    path: Path,
    tables: Sequence[Table],
    logits: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
) -> None:
    """Write a model's logits by name, float32 [rows of all tables], in the order of `open_sides`.

    Raises UserError if one is not finite.
    """
    for logit in logits.values():
        require_finite(logit)
    rows = {n: np.concatenate([table.column(n) for table in tables]) for n in ("row", "label")}
    rows["holdout"] = np.arange(len(rows["row"])) >= tables[0].rows
    write_table(pa.table({**rows, **logits}), path, metadata)


def read_predictions(path: Path, side: int | None = HOLDOUT, full_name: str = "") -> pa.Table:
    """A model's validation predictions, with all logits that the file has.

    `side` is HOLDOUT for the rows on which models are reported, VALIDATION for those that may
    choose, or None for all. Raises UserError unless the model has this `full_name`.
    """
    table = read_table(
        path, ("row", "label", "holdout", "logit"), optional=("logit_ablated", "logit_best")
    )
    check_name(path, metadata_of(table).get("full_name", ""), full_name)
    if side is None:
        return table
    holdout = table["holdout"].to_numpy()
    return table.filter(~holdout if side == VALIDATION or not holdout.any() else holdout)
