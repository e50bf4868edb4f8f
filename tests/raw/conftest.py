"""Fixtures of several modules about raw files."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from support.bucket import Bucket
from support.simulated import (
    MEAN_LENGTH,
    ROWS,
    SEED,
    TEST_ROWS,
    Drawn,
    Simulated,
    draw,
    simulate,
)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket `shop` in a store on this machine."""
    store = Bucket(tmp_path / "moto.log", monkeypatch)
    yield store
    store.close()


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("simulated")
    size = {"mean_length": MEAN_LENGTH, "seed": SEED, "chunk_rows": 8_000}
    paths = [
        *simulate(folder, "train", split="train", rows=ROWS, **size),
        *simulate(folder, "test", split="test", rows=TEST_ROWS, train_rows=ROWS, **size),
    ]
    return Simulated(*(pq.read_table(path) for path in paths))


@pytest.fixture(scope="session")
def long_rows() -> Drawn:
    """Return 12,000 rows of mean length 500, by a stream that no file and no pilot uses."""
    return draw(12_000, 500.0)
