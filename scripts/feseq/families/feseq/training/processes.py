"""Several processes for one training: the script runs itself under PyTorch's torchrun."""

import ctypes
import logging
import os
import shutil
import signal
import socket
import sys
from typing import NoReturn

from ....common.errors import UserError
from ....common.memory import processors

logger = logging.getLogger(__name__)

# Time to save after a signal; then torchrun kills the processes.
_SECONDS_TO_SAVE = 3600
_PR_SET_PDEATHSIG = 1


def run_under_torchrun(processes: int, machines: int, threads: int) -> NoReturn:
    """Replace this process by torchrun, which runs its command in this many processes.

    A process finds its place in the environment: RANK, WORLD_SIZE, LOCAL_RANK. A signal to
    torchrun goes to all of them, and if one fails, the others are ended. With several
    `machines`, each one runs the same command; see `_meeting`.
    """
    seconds = os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SECONDS_TO_SAVE))
    if not seconds.isdecimal():
        raise UserError(f"TORCH_ELASTIC_SHUTDOWN_TIMEOUT is {seconds!r}; give seconds, or unset it")
    # torchrun takes options from these, which Kubeflow sets; here the config's `train` decides.
    for name in [name for name in os.environ if name.startswith("PET_")]:
        logger.warning("%s=%s is ignored", name, os.environ.pop(name))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads // processes)))
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*command, *_meeting(machines), *sys.argv])


def _meeting(machines: int) -> list[str]:
    """The options that say where the launchers of several machines meet, from the environment.

    MASTER_ADDR and MASTER_PORT name a free port of the first machine; NODE_RANK, which Slurm's srun
    gives as SLURM_NODEID, numbers the machines from 0 on. A Slurm job without them is the first
    machine, and starts the others.
    """
    if machines == 1:
        return ["--standalone"]
    if os.environ.get("SLURM_JOB_ID", "").isdecimal() and "MASTER_ADDR" not in os.environ:
        _become_srun(machines)
    node = os.environ.get("NODE_RANK", os.environ.get("SLURM_NODEID", ""))
    host, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    are_numbers = port.isdecimal() and node.isdecimal()
    if not (host and are_numbers and int(port) < 1 << 16 and int(node) < machines):
        raise UserError(
            f"train.nodes is {machines}: start the same command on each machine, with the "
            f"environment variables MASTER_ADDR ({host!r}) and MASTER_PORT ({port!r}), a free port "
            f"of the first machine, and NODE_RANK ({node!r}), from 0 to {machines - 1}; "
            f"docs/several-gpus.md says how"
        )
    logger.info("machine %s of 0 to %d meets the others at %s:%s", node, machines - 1, host, port)
    place = {"nnodes": machines, "node-rank": node, "master-addr": host, "master-port": port}
    return [f"--{name}={value}" for name, value in place.items()]


def _become_srun(machines: int) -> NoReturn:
    """Replace this process by srun, which runs the same command on each machine of the job."""
    port = 20_000 + int(os.environ["SLURM_JOB_ID"]) % 20_000
    os.environ |= {"MASTER_ADDR": socket.gethostname(), "MASTER_PORT": str(port)}
    command = ["srun", "--overlap", "--kill-on-bad-exit", f"--nodes={machines}"]
    command += [f"--ntasks={machines}", "--ntasks-per-node=1"]
    command += [f"--cpus-per-task={processors()}", sys.executable, *sys.argv]
    if shutil.which("srun") is None:
        raise UserError(
            f"train.nodes is {machines}: a Slurm job starts the others by srun, which is "
            f"not on PATH; add its folder, or set MASTER_ADDR (docs/several-gpus.md)"
        )
    os.execvp(command[0], command)


def end_with_launcher() -> None:
    """End this process when its launcher is killed; it would run on otherwise."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
