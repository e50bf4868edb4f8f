"""Facts of tiny raw tables."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from support.raw_tables import COLUMNS, to_test_h5, to_train_h5
from tossctr.config.columns import Columns
from tossctr.describe.facts import describe
from tossctr.features.fitting import fit_feature_map


def facts_of(
    folder: Path, train: pa.Table, test: pa.Table | None, columns: Columns = COLUMNS, **options: Any
) -> dict[str, Any]:
    """The facts of a quarter of `train` as validation rows, the rest as train rows, and `test`."""
    train_h5, valid_h5 = to_train_h5(folder, train, columns=columns, **options)
    half = len(test or ()) // 2
    # Two parts, whose categories have other codes.
    halves = (test[:half], test[half:]) if test else ()
    test_h5 = [to_test_h5(folder / str(i), rows, columns=columns) for i, rows in enumerate(halves)]
    fit_feature_map(train_h5, columns, 1).write(folder / "map.json")
    files = (train_h5, valid_h5, test_h5, folder / "map.json")
    return describe(*files, size="full", threads=2)
