"""Fixtures of several modules about raw files."""

from collections.abc import Iterator

import pytest

from support.bucket import Bucket, Store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store on this machine."""
    store = Store(tmp_path_factory.mktemp("store") / "moto.log")
    yield store
    store.close()


@pytest.fixture
def bucket(store: Store, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket `shop` in it."""
    return Bucket(store.endpoint, monkeypatch)
