"""Fixtures of several modules about the stand-in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from feseq.simulation import columns, sequences, users
from support.simulated import MEAN_LENGTH, ROWS, SEED, TEST_ROWS, Drawn, Simulated, simulate


@pytest.fixture(scope="session")
def simulated(shared: Callable[..., Path]) -> Simulated:
    """A train file of 20,000 rows, a test file of 4,000, and their truth."""

    def make(folder: Path) -> None:
        size = {"mean_length": MEAN_LENGTH, "seed": SEED, "chunk_rows": 8_000}
        simulate(folder, "train", rows=ROWS, **size)
        simulate(folder, "test", split="test", rows=TEST_ROWS, train_rows=ROWS, **size)

    return {path.stem: pq.read_table(path) for path in shared("simulated", make).glob("*.parquet")}


@pytest.fixture(scope="session")
def long_rows() -> Drawn:
    """12,000 rows of mean length 500, by a stream that no file and no pilot uses."""
    rows = 12_000
    strangers = users.strangers(314, rows)
    day = columns.train_day(np.arange(rows), rows)
    drawn = columns.draw_columns(np.random.default_rng(314), strangers, day)
    return drawn, sequences.draw_sequences(strangers, 500.0)
