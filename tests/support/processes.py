"""Processes that a test starts, watches and kills."""

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from torch.distributed.launcher.api import LaunchConfig

from support import REPOSITORY

# Ends a test that would hang, on a machine however busy; nothing else depends on it.
PATIENCE_SECONDS = 300
# Those above are given to connections, and to whoever asks for any.
_PORTS = range(20_000, 32_000)


def running(group: int) -> list[int]:
    """The processes of a group that still run after a while; a dead one may be unread."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (alive := _members(group)) and time.monotonic() < until:
        time.sleep(0.05)
    return alive


def _members(group: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group, *_ = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if state != "Z" and int(its_group) == group:
            found.append(int(folder.name))
    return found


def workers_of(launcher: int) -> list[int]:
    """The processes that a launcher has spawned; it also runs a tracker of resources."""
    children = Path(f"/proc/{launcher}/task").glob("*/children")
    found = {int(child) for file in children for child in file.read_text().split()}
    return sorted(
        child for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    )


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Lines of a process's log until one holds `text`."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


def free_port() -> int:
    """A free port, and one that the kernel gives to nobody who asks for just any."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError


@contextmanager
def forked_workers() -> Iterator[None]:
    """Launched workers are forks of a process that has PyTorch, which saves seconds each.

    What they log goes nowhere.
    """
    with pytest.MonkeyPatch.context() as patch:
        # Where that process finds its imports.
        patch.setenv("PYTHONPATH", str(REPOSITORY / "tests"))
        forking = partial(LaunchConfig, start_method="forkserver")
        patch.setattr("feseq.train.launch.LaunchConfig", forking)
        yield
