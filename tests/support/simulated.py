"""Simulated raw files and rows, small enough for tests and large enough for statistics."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from feseq.common.ragged import Ragged
from feseq.simulation import columns, sequences, simulate_split

ROWS, TEST_ROWS, SEED, MEAN_LENGTH = 20_000, 4_000, 7, 50.0
# By name: train, test, and the truth of each.
Simulated = dict[str, pa.Table]
Drawn = tuple[columns.Columns, Ragged]


def simulate(folder: Path, name: str, **settings: Any) -> tuple[Path, Path]:
    """Small files, and where they lie."""
    parquet, truth = folder / f"{name}.parquet", folder / f"{name}_truth.parquet"
    defaults: dict[str, Any] = {"split": "train", "rows": 600, "mean_length": 20.0, "seed": 1}
    simulate_split(parquet, truth, **{**defaults, "chunk_rows": 200, **settings})
    return parquet, truth


def ragged(table: pa.Table) -> Ragged:
    """Parse `seq` the slow and obvious way."""
    token_of = {code: token for token, code in enumerate(sequences.vocabulary())}
    rows = [[token_of[code] for code in text.split(",")] for text in table["seq"].to_pylist()]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Ragged(np.concatenate(rows).astype(np.uint16), offsets)
