"""Fixtures that several test modules share; what they are made of is in tests/support."""

import shutil
from pathlib import Path

import pytest

from feseq.dataset import conversion, shuffle
from support import shop, trainings


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 7)
    monkeypatch.setattr(shuffle, "BUCKET_ROWS", 10)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the shop's three submissions and a report made, and what snakemake printed."""
    folder = tmp_path_factory.mktemp("shop")
    shop.write_inputs(folder)
    code, output = shop.snakemake(folder, *shop.TARGETS)
    assert code == 0, output
    return folder, output


@pytest.fixture
def copied(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the finished folder."""
    return Path(shutil.copytree(finished[0], tmp_path / "shop"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated H5 files and their feature map, to be read only."""
    folder = tmp_path_factory.mktemp("data")
    trainings.make_data(folder)
    return folder
