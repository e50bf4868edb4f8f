"""What a run uses of the machine: device, threads, memory allocator."""

import ctypes
import logging
import os

import torch

from .errors import UserError

logger = logging.getLogger(__name__)

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def start_runtime(device: str, threads: int) -> torch.device:
    """Set threads and allocator for this process, and choose the device its models run on."""
    use_threads(threads)
    keep_freed_memory()
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


def keep_freed_memory() -> None:
    """Have glibc keep freed buffers instead of returning them to the kernel at every step.

    Each training step frees and asks for the same large tensors; faulting them in anew costs 10
    to 40 % of a CPU step. Where the C library is another, this does nothing.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        logger.debug("no glibc: its allocator is left as it is")
