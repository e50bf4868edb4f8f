"""Fixtures that several test modules share; what they are made of is in tests/support."""

import os

# Tests run beside one another: their numeric libraries take one thread each, and those that ask for
# more go to sleep where they wait. Set before anything imports NumPy or PyTorch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from support import shop, trainings
from support.learnable import learnable_table, make
from tossctr.datasets import conversion

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the processes
# that they start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same few examples in every run; many others: make test-slow.
settings.register_profile("short", max_examples=20, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=1_000, deadline=None)
settings.load_profile("short")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 7)
    monkeypatch.setattr(conversion, "WRITTEN_ROWS", 9)


Shared = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    """Folders by name, to be read only: all pytest workers share them.

    The first that needs one makes it, by a function that is given an empty folder.
    """
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    def get(name: str, make: Callable[[Path], object]) -> Path:
        folder = base / name
        with FileLock(folder.with_suffix(".lock")):
            if not folder.with_suffix(".made").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                folder.with_suffix(".made").touch()
        return folder

    return get


@pytest.fixture(scope="session")
def finished(shared: Shared) -> tuple[Path, str]:
    """A folder with the shop's submissions, metrics and a plot, and what snakemake printed."""

    def make(folder: Path) -> None:
        shop.write_inputs(folder)
        folder.with_suffix(".txt").write_text(shop.snakemake(folder, *shop.TARGETS))

    folder = shared("finished", make)
    return folder, folder.with_suffix(".txt").read_text()


@pytest.fixture
def copied(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the finished folder."""
    return Path(shutil.copytree(finished[0], tmp_path / "shop"))


@pytest.fixture(scope="session")
def data(shared: Shared) -> Path:
    """Simulated H5 files and their feature map, to be read only."""
    return shared("data", trainings.make_data)


@pytest.fixture(scope="session")
def learnable(shared: Shared) -> Path:
    """The files of a table whose clicks trees can learn, to be read only."""
    return shared("learnable", lambda folder: make(folder, learnable_table()))
