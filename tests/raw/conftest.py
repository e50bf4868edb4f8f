"""Fixtures of several modules about raw files."""

from collections.abc import Iterator

import pytest

from support.bucket import Bucket, running


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a store on this machine."""
    yield from running(tmp_path_factory.mktemp("store") / "moto.log")


@pytest.fixture
def bucket(store: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket `shop` in it."""
    return Bucket(store, monkeypatch)
