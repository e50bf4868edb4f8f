"""The file valid_predictions.parquet, from which models are measured, blended and compared.

It has the validation rows: row int64, label uint8, logit float32. Models also have logit_ablated,
with empty histories, and blends logit_best, of their best model.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ..common.errors import UserError
from ..common.parquet import metadata_of, read_table
from ..config.names import check_name, folder_name


def read_predictions(path: Path, full_name: str = "") -> pa.Table:
    """A model's validation predictions, with all logits that the file has.

    Raises UserError unless the model has this `full_name`.
    """
    table = read_table(path, ("row", "label", "logit"), optional=("logit_ablated", "logit_best"))
    check_name(path, metadata_of(table).get("full_name", ""), full_name)
    return table


def read_same_rows(paths: Sequence[Path]) -> list[pa.Table]:
    """The predictions of several models, each in its folder.

    Raises UserError unless all are of the same rows.
    """
    tables = [read_predictions(path, folder_name(path)) for path in paths]
    for path, table in zip(paths, tables):
        if not table["row"].equals(tables[0]["row"]):
            raise UserError(
                f"{path}: has other rows than {paths[0]}; delete both, and run the same command "
                f"again"
            )
    return tables
