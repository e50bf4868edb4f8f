"""What a run of PyTorch uses of the machine: device and threads."""

import logging
import os

import torch

from .errors import UserError

logger = logging.getLogger(__name__)


def start_runtime(device: str, threads: int) -> torch.device:
    """Set the threads of this process, and choose the device its models run on."""
    use_threads(threads)
    return choose_device(device)


def choose_device(name: str) -> torch.device:
    """`auto`: CUDA where there is one, else the CPU, said in the log; else the device named.

    Raises UserError if CUDA is named and missing: nobody who asks for a GPU wants a CPU run.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("runtime.device is cuda, and PyTorch finds no CUDA device; use auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu":
            logger.warning("no CUDA device found: running on the CPU")
    device = torch.device(name)
    if device.type == "cuda":
        # Same data, same config, same machine, same result; cuBLAS reads this when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        logger.info("device: %s", torch.cuda.get_device_name(device))
    return device


def use_threads(threads: int) -> None:
    """Let PyTorch use `threads` threads, at most one per CPU that this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads
    torch.set_num_threads(max(1, min(threads, available)))
