"""Worker processes: their words and their ends reach the one who started them."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feseq.common.errors import UserError
from feseq.machine.workers import run_workers
from support import SCRIPTS

PATHS = [str(SCRIPTS), *map(str, Path(__file__).parents[:2])]


def note(index: int, folder: Path) -> None:
    logging.getLogger("feseq.some").warning("worker %d, %s", index, {"a": 1})
    (folder / str(index)).write_text(str(os.getpid()))


def fail(index: int, folder: Path, error: BaseException | int = 0) -> None:
    """The second worker fails, once the first, which would go on for long, is there."""
    note(index, folder)
    if index == 0:
        time.sleep(120)
    while not (folder / "0").exists():
        time.sleep(0.01)
    if isinstance(error, int):
        os.kill(os.getpid(), error)
        time.sleep(120)
    else:
        raise error


def is_running(file: Path) -> bool:
    try:
        os.kill(int(file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def gone(files: list[Path]) -> bool:
    """True once all processes of the files have ended, within some seconds."""
    until = time.monotonic() + 15
    while any(map(is_running, files)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(is_running, files))


def test_each_worker_does_its_work_in_a_process_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_workers(3, note, tmp_path)
    found = {int(file.name): file.read_text() for file in tmp_path.iterdir()}
    assert sorted(found) == [0, 1, 2]
    assert len({*found.values(), str(os.getpid())}) == 4
    lines = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
    assert sorted(lines) == [
        ("feseq.some", "WARNING", f"worker {index}, {{'a': 1}}") for index in range(3)
    ]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (UserError("a mistake"), UserError, r"^a mistake$"),
        (OSError(28, "No space left on device"), OSError, "No space left"),
        (ZeroDivisionError("by none"), RuntimeError, r"(?s)in a worker:.*in fail.*by none"),
        (signal.SIGKILL, UserError, r"process \d+\) was ended by SIGKILL, perhaps for lack of mem"),
        (signal.SIGTERM, UserError, r"was ended by SIGTERM; the others are ended too"),
        (signal.SIGINT, UserError, r"was ended by SIGINT; the others"),
        (SystemExit(143), UserError, r"was ended by SIGTERM"),
        (SystemExit(3), UserError, r"was ended by status 3"),
    ],
)
def test_the_failure_of_one_ends_all_and_says_why(
    tmp_path: Path, error: BaseException | int, kind: type[BaseException], text: str
) -> None:
    with pytest.raises(kind, match=text):
        run_workers(2, fail, tmp_path, error)
    assert not is_running(tmp_path / "0")
    assert not is_running(tmp_path / "1")


def save_late(index: int, folder: Path) -> None:
    """Asked to end, a worker needs longer than is waited for one whose fellow is lost."""
    note(index, folder)
    try:
        time.sleep(120)
    finally:
        time.sleep(1.5)
        (folder / f"saved{index}").touch()


def start(work: str, folder: Path, *also: str) -> subprocess.Popen[bytes]:
    """A process whose two workers are there, and which ran the lines `also` before."""
    code = "\n".join(
        [
            f"import sys; sys.path[:0] = {PATHS}",
            "from pathlib import Path",
            "from feseq.machine import workers",
            f"from test_workers import {work}",
            "import signal",
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))",
            *also,
            f"workers.run_workers(2, {work}, Path({str(folder)!r}))",
        ]
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    files = [folder / "0", folder / "1"]
    until = time.monotonic() + 30
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < until
        time.sleep(0.01)
    return starter


def test_workers_that_are_asked_to_end_may_take_their_time(tmp_path: Path) -> None:
    starter = start("save_late", tmp_path, "workers._SECONDS_TO_END = 0.5")
    # A scheduler may say it twice.
    for _ in range(2):
        starter.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    assert starter.wait(timeout=30) == 143
    assert sorted(path.name for path in tmp_path.glob("saved*")) == ["saved0", "saved1"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_do_not_outlive_their_starter(tmp_path: Path, end: int) -> None:
    starter = start("fail", tmp_path)
    starter.send_signal(end)
    starter.wait(timeout=30)
    assert gone([tmp_path / "0", tmp_path / "1"])
