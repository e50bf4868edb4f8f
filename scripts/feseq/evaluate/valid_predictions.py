"""The file valid_predictions.parquet, from which models are measured, blended and compared.

It has the validation rows and behind them any holdout rows: row int64, label uint8, holdout bool,
logit float32; for models also logit_ablated, with empty histories, and for blends logit_best, of
the best model in it.

Metrics are those of the holdout rows: `read_predictions(path)`. Whatever is fitted or chosen after
the training, such as the weights of a blend, reads the others: `read_predictions(path,
VALIDATION)`. Where there are no holdout rows, both are all rows.
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
    """Write a model's logits by name, float32 [rows of all tables], as `open_sides` has them.

    Raises UserError if one is not finite.
    """
    for logit in logits.values():
        require_finite(logit)
    rows = {n: np.concatenate([table.column(n) for table in tables]) for n in ("row", "label")}
    rows["holdout"] = np.arange(len(rows["row"])) >= tables[0].rows
    write_table(pa.table({**rows, **logits}), path, metadata)


def read_predictions(path: Path, part: int | None = HOLDOUT, full_name: str = "") -> pa.Table:
    """A model's validation predictions, with those of the logits that the file has.

    `part`: HOLDOUT, the rows on which models are reported; VALIDATION, those that may choose; None,
    all. Raises UserError if they are of another model than the one of this `full_name`.
    """
    table = read_table(
        path, ("row", "label", "holdout", "logit"), optional=("logit_ablated", "logit_best")
    )
    check_name(path, metadata_of(table).get("full_name", ""), full_name)
    if part is None:
        return table
    holdout = table["holdout"].to_numpy()
    return table.filter(~holdout if part == VALIDATION or not holdout.any() else holdout)
