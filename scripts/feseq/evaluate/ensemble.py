"""Validation predictions of models that submit together."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from ..common.errors import UserError
from ..common.files import write_json
from ..common.logits import mean_logit
from ..common.parquet import marks_of, write_table
from ..config.names import share_of
from .valid_predictions import read_predictions


def mix_predictions(
    predictions: Sequence[Path], weights: Mapping[str, float], mixed: Path, training: Path
) -> None:
    """Write the weighted mean of the models' logits, as in a submission, and the weights (JSON).

    `weights` go by the models' names, which are the folders of `predictions`. Raises
    UserError unless all have the same rows.
    """
    tables = [read_predictions(path, part=None) for path in predictions]
    for path, table in zip(predictions, tables):
        if not (table["row"].equals(tables[0]["row"]) and marks_of(table) == marks_of(tables[0])):
            raise UserError(
                f"{path}: has other rows than {predictions[0]}; delete both and run the same "
                f"command again"
            )
    shares = [share_of(weights, path) for path in predictions]
    logits = {
        name: mean_logit([table[name].to_numpy() for table in tables], shares)
        for name in ("logit", "logit_blanked")
    }
    rows = {name: tables[0][name] for name in ("row", "label", "judges")}
    write_table(pa.table({**rows, **logits}), mixed, marks_of(tables[0]))
    write_json(training, {"settings": dict(weights)})
