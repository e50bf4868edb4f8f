"""Processes that a test starts, watches and kills."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from support import REPOSITORY

# Ends a test that would hang, on a machine however busy; nothing else depends on it.
PATIENCE_SECONDS = 300


def run_python(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Call this Python, to its end; what it printed, and its exit status."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def workers_of(launcher: int) -> list[int]:
    """The processes that torchrun has started, once they are there."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (children := psutil.Process(launcher).children()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return [child.pid for child in children]


def have_ended(processes: list[int]) -> bool:
    """True once none of them runs any more; False if that takes too long."""

    def is_alive(process: int) -> bool:
        with suppress(psutil.NoSuchProcess):
            # A dead one may be unread.
            return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
        return False

    until = time.monotonic() + PATIENCE_SECONDS
    while (alive := any(map(is_alive, processes))) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive


def in_processes(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call a module's function in so many processes that can join one another.

    They are forks of a process that has PyTorch, which saves seconds each; what they log goes
    nowhere. Raises ChildFailedError if one fails.
    """
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # Where that process finds its imports.
        patch.setenv("PYTHONPATH", str(REPOSITORY / "tests"))
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id="test",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(folder),
            start_method="forkserver",
        )
        # The launcher takes these signals, and would keep them from later tests of this process.
        taken = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        before = {number: signal.getsignal(number) for number in taken}
        try:
            elastic_launch(config, work)(*arguments)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
