"""Several processes at one piece of work, by PyTorch's launcher, on one machine or several.

The launcher (`torch.distributed.launcher`) starts the processes of its machine, gives each the
environment variables of PyTorch's contract (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, ...), and
ends all of them where one fails. This module adds what a user sees of it: one log, one line where
a process dies, time to save after a signal, and no process that outlives its launcher.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
    get_error_handler,
)
from torch.distributed.elastic.rendezvous.api import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ..common.errors import UserError, first_line
from ..common.log import log_target, log_to
from ..common.memory import keep_freed_memory
from ..common.signals import exit_on_sigterm

# The errors of a worker that the launcher raises as they are, by name.
_KNOWN_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error
    for base in (UserError, OSError)
    for error in (base, *base.__subclasses__())
}


def launch(processes: int, work: Callable[..., None], *arguments: Any, machines: int = 1) -> None:
    """Call `work(*arguments)` in `processes` fresh processes on this machine; return at their end.

    `work` is a function of a module; its process finds its rank in the environment. With several
    `machines`, each calls this, and finds the others as `_meeting` says.

    A UserError or OSError of a worker is raised here, and UserError where a worker was killed; the
    other workers end first. A signal to this process goes to the workers as SIGTERM, and they may
    take their time to save.
    """
    for name in ("torch.distributed.elastic", "torch.multiprocessing"):
        # Their pages on a failure, which one line tells below.
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    meeting = _meeting(machines)
    with TemporaryDirectory(prefix="launch_") as folder:
        config = LaunchConfig(
            min_nodes=machines,
            max_nodes=machines,
            nproc_per_node=processes,
            run_id="feseq",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(folder),
            **meeting,
        )
        agent: Future[None] = Future()
        call = (agent, elastic_launch(config, _work), (log_target(), work, arguments))
        # In a thread, the launcher takes no signals: it would kill the workers after 30 seconds.
        # SIGINT is blocked there, and so in the workers until they ignore it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        threading.Thread(target=_run, args=call, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            agent.result()
        except ChildFailedError as error:
            _raise(error.get_first_failure()[1])
        except (KeyboardInterrupt, SystemExit):
            _end_workers(agent)
            raise
        except (DistError, RendezvousError) as error:
            raise UserError(
                f"the processes of this training did not meet at {config.rdzv_endpoint} "
                f"({first_line(error)}); with train.nodes {machines}, start the same command on as "
                f"many machines"
            ) from None


def _meeting(machines: int) -> dict[str, Any]:
    """Where the launchers of several machines meet, from the environment.

    MASTER_ADDR and MASTER_PORT name a free port of the first machine; NODE_RANK, which Slurm's srun
    gives as SLURM_NODEID, numbers the machines from 0 on. A Slurm job without them is the first
    machine, and starts the others.
    """
    if machines == 1:
        return {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "local_addr": "localhost"}
    if "SLURM_JOB_ID" in os.environ and "MASTER_ADDR" not in os.environ:
        _become_srun(machines)
    node = os.environ.get("NODE_RANK", os.environ.get("SLURM_NODEID"))
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if host is None or not (node or "").isdecimal() or not (port or "").isdecimal():
        raise UserError(
            f"train.nodes is {machines}: start the same command on each machine, with the "
            f"environment variables MASTER_ADDR and MASTER_PORT, a free port of the first machine, "
            f"and NODE_RANK, from 0 to {machines - 1}; docs/several-gpus.md says how"
        )
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": f"{host}:{port}",
        "rdzv_configs": {"rank": int(str(node))},
    }


def _become_srun(machines: int) -> NoReturn:
    """Replace this process by srun, which runs the same command on each machine of the job."""
    port = 20_000 + int(os.environ["SLURM_JOB_ID"]) % 20_000
    os.environ |= {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(port)}
    command = ["srun", "--overlap", "--kill-on-bad-exit", f"--nodes={machines}"]
    command += [f"--ntasks={machines}", "--ntasks-per-node=1"]
    command += [f"--cpus-per-task={len(os.sched_getaffinity(0))}", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def _run(agent: "Future[None]", start: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        start(arguments)
        agent.set_result(None)
    except BaseException as error:
        agent.set_exception(error)


def _end_workers(agent: "Future[None]") -> None:
    """Ask the workers to end, and wait until they have; no further signal interrupts that."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    # SIG_IGN would make Python complain of one that is already on its way.
    handlers = [signal.signal(kind, lambda *_: None) for kind in kinds]
    while not agent.done() and (workers := multiprocessing.active_children()):
        for worker in workers:
            worker.terminate()
        # Some may just be starting.
        wait([agent], timeout=1)
    for kind, handler in zip(kinds, handlers):
        signal.signal(kind, handler)


def _raise(failure: ProcessFailure) -> NoReturn:
    """Raise the error of a worker, or say what ended it."""
    if isinstance(failure.message, dict):
        kind, _, text = failure.message["message"].partition(": ")
        if kind in _KNOWN_ERRORS:
            raise _KNOWN_ERRORS[kind](text)
        raise RuntimeError(f"in a worker:\n{failure.message['extraInfo']['py_callstack']}")
    # Ended by a signal, or by itself after one.
    number = -failure.exitcode if failure.exitcode < 0 else failure.exitcode - 128
    is_signal = number in set(signal.Signals)
    how = signal.Signals(number).name if is_signal else f"status {failure.exitcode}"
    hint = ", perhaps for lack of memory" if how == "SIGKILL" else ""
    raise UserError(
        f"a worker (process {failure.pid} on {socket.gethostname()}) was ended by {how}{hint}; the "
        f"others are ended too, and the same command goes on from there"
    )


def _work(
    call: tuple[tuple[list[str], str], Callable[..., None], tuple[Any, ...]],
) -> None:
    """The life of a worker."""
    log, work, arguments = call
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    # After Ctrl-C the launcher sends SIGTERM. If it has died, PyTorch sends SIGINT, which a worker
    # would pass on to those of other machines as a wish to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_on_sigterm()
    keep_freed_memory()
    log_to(*log)
    try:
        work(*arguments)
    except Exception as error:
        get_error_handler().record_exception(error)
        sys.exit(1)
    if os.environ["GROUP_WORLD_SIZE"] != "1" and os.environ["GROUP_RANK"] == "0":
        # The launcher of the first machine holds what the others need to end, and must end last.
        time.sleep(1)


def _end_with_launcher() -> None:
    """Without it, a worker of a killed launcher might wait for the others for hours."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    os._exit(1)
