"""Processes of a launch: what they log, why they fail, and that none outlives its launcher."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feseq.common.errors import UserError
from feseq.common.ranks import process_rank
from feseq.train.launch import launch
from support import SCRIPTS
from support.processes import PATIENCE_SECONDS, forked_workers

pytestmark = pytest.mark.workflow


def note(folder: Path) -> None:
    logging.getLogger("feseq.some").warning("worker %d, %s", process_rank(), {"a": 1})
    (folder / str(process_rank())).write_text(str(os.getpid()))


def fail(folder: Path, error: BaseException | int) -> None:
    """The first worker fails, once the second, if any, which would go on for long, is there."""
    note(folder)
    if process_rank():
        time.sleep(PATIENCE_SECONDS)
    while len([*folder.iterdir()]) < int(os.environ["WORLD_SIZE"]):
        time.sleep(0.01)
    if isinstance(error, int):
        os.kill(os.getpid(), error)
        time.sleep(PATIENCE_SECONDS)
    else:
        raise error


def end_late(folder: Path, seconds: float) -> None:
    """Asked to end, a worker takes its time."""
    try:
        note(folder)
        time.sleep(PATIENCE_SECONDS)
    finally:
        time.sleep(seconds)
        (folder / f"saved{process_rank()}").touch()


def is_running(file: Path) -> bool:
    try:
        os.kill(int(file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_each_process_works_and_logs_to_stderr_and_to_the_file_of_the_job(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = logging.FileHandler(tmp_path / "job.log")
    logging.getLogger().addHandler(handler)
    (tmp_path / "work").mkdir()
    try:
        launch(2, note, tmp_path / "work")
    finally:
        logging.getLogger().removeHandler(handler)
    found = {int(file.name): file.read_text() for file in (tmp_path / "work").iterdir()}
    assert sorted(found) == [0, 1]
    assert len({*found.values(), str(os.getpid())}) == 3
    for log in (capfd.readouterr().err, (tmp_path / "job.log").read_text()):
        lines = sorted(line.partition(" ")[2] for line in log.splitlines())
        assert lines == [f"WARNING worker {rank}, {{'a': 1}}" for rank in range(2)]


@pytest.mark.parametrize(
    ("processes", "error", "kind", "text"),
    [
        (2, UserError("a mistake: yours"), UserError, r"^a mistake: yours$"),
        (1, PermissionError(13, "denied"), OSError, "denied"),
        (1, ZeroDivisionError("by none"), RuntimeError, r"(?s)in a worker:.*in fail.*by none"),
        (2, signal.SIGKILL, UserError, r"process \d+ on \S+\) was ended by SIGKILL, perhaps for"),
        (1, SystemExit(143), UserError, r"was ended by SIGTERM"),
        (1, SystemExit(3), UserError, r"was ended by status 3"),
    ],
    ids=str,
)
def test_the_failure_of_one_ends_all_and_says_why(
    tmp_path: Path,
    processes: int,
    error: BaseException | int,
    kind: type[BaseException],
    text: str,
) -> None:
    with forked_workers(), pytest.raises(kind, match=text):
        launch(processes, fail, tmp_path, error)
    assert [is_running(file) for file in tmp_path.iterdir()] == [False] * processes


@pytest.mark.parametrize("seconds", [1.5, pytest.param(35.0, marks=pytest.mark.slow)])
def test_processes_that_are_asked_to_end_may_take_their_time(
    tmp_path: Path, seconds: float
) -> None:
    code = "\n".join(
        [
            "import signal, sys",
            f"sys.path[:0] = {[str(SCRIPTS), *map(str, Path(__file__).parents[:2])]}",
            "from pathlib import Path",
            "from feseq.train.launch import launch",
            "from test_launch import end_late",
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))",
            f"launch(2, end_late, Path({str(tmp_path)!r}), {seconds})",
        ]
    )
    launcher = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    while not all((tmp_path / name).exists() for name in "01"):
        assert launcher.poll() is None
        time.sleep(0.01)
    # A scheduler may say it twice.
    for _ in range(2):
        launcher.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    _, log = launcher.communicate(timeout=PATIENCE_SECONDS)
    assert launcher.returncode == 143
    assert sorted(path.name for path in tmp_path.glob("saved*")) == ["saved0", "saved1"]
    assert "Traceback" not in log


def test_several_machines_need_to_know_where_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UserError, match=r"train.nodes is 2: .* MASTER_ADDR and MASTER_PORT"):
        launch(1, note, machines=2)
