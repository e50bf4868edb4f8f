"""The file valid_predictions.parquet, from which models are measured, mixed and compared.

It has all validation rows: row int64, label uint8, judges bool, logit float32; for models also
logit_blanked, with empty histories, and for blends logit_best, of the best model in it.

With `sampling.judge_share`, some of the rows only judge. Whatever is fitted or chosen after the
training, such as the weights of a blend, reads the others by `read_predictions(path, CHOOSE)`, and
so leaves unseen those by which it is judged, `read_predictions(path)`. Without such a share these
are the same rows, all of them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.parquet import metadata_of, read_table, write_table
from ..config.names import check_name
from ..dataset.selection import CHOOSE, JUDGE
from ..dataset.store import H5Table


def write_logits(
    path: Path, valid: H5Table, logits: Mapping[str, np.ndarray], marks: Mapping[str, str]
) -> None:
    """Write a model's logits float32 of the validation rows by name."""
    rows = {"row": valid.column("row"), "label": valid.column("label"), "judges": valid.judges}
    write_table(pa.table({**rows, **logits}), path, marks)


def read_predictions(path: Path, part: int | None = JUDGE, full_name: str = "") -> pa.Table:
    """A model's validation predictions, with those of the logits that the file has.

    `part`: of the rows that judge, of those that choose (CHOOSE), or None: of all. Raises UserError
    if they are of another model than the one of this `full_name`.
    """
    table = read_table(
        path, ("row", "label", "judges", "logit"), optional=("logit_blanked", "logit_best")
    )
    check_name(path, metadata_of(table).get("full_name", ""), full_name)
    if part is None:
        return table
    judges = table["judges"].to_numpy()
    return table.filter(~judges if part == CHOOSE and not judges.all() else judges)
