"""Simulated raw files and rows, small enough for tests and large enough for statistics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from feseq.common.ragged import Ragged
from feseq.raw.simulation import drawn_columns, drawn_sequences, drawn_users, simulate_split

Drawn = tuple[drawn_columns.DrawnColumns, Ragged]

ROWS, TEST_ROWS = 20_000, 4_000
SEED = 7
MEAN_LENGTH = 50.0


@dataclass(frozen=True)
class Simulated:
    train: pa.Table
    train_truth: pa.Table
    test: pa.Table
    test_truth: pa.Table


def simulate(folder: Path, name: str, **settings: Any) -> tuple[Path, Path]:
    parquet, truth = folder / f"{name}.parquet", folder / f"{name}_truth.parquet"
    defaults: dict[str, Any] = {
        "split": "train",
        "rows": 600,
        "mean_length": 20.0,
        "seed": 1,
        "chunk_rows": 200,
    }
    simulate_split(parquet, truth, **{**defaults, **settings})
    return parquet, truth


def draw(rows: int, mean_length: float) -> Drawn:
    users = drawn_users.strangers(314, rows)
    day = drawn_columns.train_day(0, rows, rows)
    columns = drawn_columns.draw_columns(np.random.default_rng(314), users, day)
    return columns, drawn_sequences.draw_sequences(users, mean_length)


def ragged(table: pa.Table) -> Ragged:
    """Parse `seq` the slow and obvious way."""
    token_of = {str(code): token for token, code in enumerate(drawn_sequences.vocabulary())}
    rows = [[token_of[code] for code in text.split(",")] for text in table["seq"].to_pylist()]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Ragged(np.concatenate(rows).astype(np.uint16), offsets)
