"""The file oof_predictions.parquet: train rows, each predicted by a model that did not see it.

In the order of the train table: row int64, label uint8, fold int16, judges bool (true), logit
float32, and for networks logit_blanked.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..common.parquet import metadata_of, write_table
from ..dataset.folds import Folds
from .valid_predictions import read_predictions


def join_folds(
    folds_file: Path, predictions: Sequence[Path], out_of_fold: Path, full_name: str = ""
) -> None:
    """Write the predictions of all folds, the first fold's first, as those of one model.

    Raises UserError if a file is of another model or fold, or of other rows.
    """
    folds = Folds.read(folds_file)
    parts, places, rates = [], [], []
    for fold, path in enumerate(predictions, 1):
        part = read_predictions(path, None, full_name and f"{full_name}/fold{fold}")
        places.append(np.flatnonzero(folds.predicts(fold)))
        if not np.array_equal(part["row"].to_numpy(), folds.row[places[-1]]):
            raise UserError(
                f"{path}: has other rows than fold {fold} of {folds_file}; delete it and run the "
                f"same command again"
            )
        numbers = pa.array(np.full(len(part), fold, np.int16))
        rates += [float(metadata_of(part)["click_rate"])] * len(part)
        parts.append(part.append_column("fold", numbers).replace_schema_metadata(None))
    table = pa.concat_tables(parts).take(np.argsort(np.concatenate(places)))
    # That of the rows each model was trained on, which differ by time.
    marks = {"click_rate": repr(float(np.mean(rates))), "full_name": full_name}
    write_table(table, out_of_fold, marks)
