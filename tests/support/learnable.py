"""A table whose clicks follow what trees can find, and its files."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from support.raw_tables import COLUMNS, raw_table, to_train_h5
from tossctr.features.fitting import fit_feature_map

ROWS = 3000


def learnable_table(rows: int = ROWS, seed: int = 5) -> pa.Table:
    """Clicks that follow the price, the country, and whether code 7 is in the history."""
    random = np.random.default_rng(seed)
    price = random.normal(size=rows)
    country = random.choice(["a", "b", "c"], rows)
    events = [random.integers(0, 30, length) for length in random.integers(0, 12, rows)]
    has_seven = np.array([7 in row for row in events])
    logit = -3 + price + (country == "a") + 4 * has_seven
    return raw_table(
        rows,
        price=price,
        country=country,
        events=[",".join(map(str, row)) for row in events],
        y=(random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8),
    )


def make(folder: Path, table: pa.Table, **options: Any) -> Path:
    """train.h5, valid.h5 and feature_map.json of `table` in `folder`."""
    train, _ = to_train_h5(folder, table, **options)
    fit_feature_map(train, options.get("columns", COLUMNS), 1).write(folder / "feature_map.json")
    return folder
