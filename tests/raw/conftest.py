"""Fixtures of several modules about raw files."""

from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from support.bucket import Bucket, use
from support.processes import PATIENCE_SECONDS
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
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty store; its requests are counted, so none is repeated where the machine is busy."""
    monkeypatch.setattr("feseq.raw.location._S3_SILENT_SECONDS", PATIENCE_SECONDS)
    store = Bucket()
    use(store.endpoint, monkeypatch)
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
