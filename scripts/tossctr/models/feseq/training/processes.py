"""Several processes for one training: the script runs itself under PyTorch's torchrun."""

import ctypes
import logging
import os
import signal
import sys
from typing import NoReturn

logger = logging.getLogger(__name__)

# Time to save after a signal; then torchrun kills the processes.
_SECONDS_TO_SAVE = 3600
_PR_SET_PDEATHSIG = 1


def run_under_torchrun(processes: int, threads: int) -> NoReturn:
    """Replace this process by torchrun, which runs its command in this many processes.

    A process finds its place in the environment: RANK, WORLD_SIZE, LOCAL_RANK. A signal to
    torchrun goes to all of them, and if one fails, the others are ended.
    """
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SECONDS_TO_SAVE))
    # torchrun takes options from these, which Kubeflow sets; here the config's `train` decides.
    for name in [name for name in os.environ if name.startswith("PET_")]:
        logger.warning("%s=%s is ignored", name, os.environ.pop(name))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads // processes)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command.append(f"--nproc-per-node={processes}")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*command, *sys.argv])


def end_with_launcher() -> None:
    """End this process when its launcher is killed; it would run on otherwise."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
