"""Fixtures of several modules about raw files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bucket import Bucket


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket `shop` in a store on this machine."""
    store = Bucket(tmp_path / "moto.log", monkeypatch)
    yield store
    store.close()
