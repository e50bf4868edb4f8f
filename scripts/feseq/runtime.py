"""What a run of PyTorch uses of the machine: device and threads."""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from .errors import UserError
from .memory import peak_memory

logger = logging.getLogger(__name__)

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Machine:
    """Where and how models run: of a result, it changes rounding and draws of dropout alone."""

    device: torch.device
    precision: torch.dtype = torch.float32
    memory_gib: float | None = None
    recompute: bool = False

    def autocast(self) -> AbstractContextManager[None]:
        """Products of positions in `precision`; float32: all as it is.

        Sums, norms and what stands for a whole row stay in float32.
        """
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, self.precision, enabled=enabled)

    def memory(self) -> int:
        """Bytes that a training may use: as set, else all of a GPU's or half of the computer's.

        What there is and not what is free now, which would let rounding depend on the moment.
        """
        if self.memory_gib is not None:
            return int(self.memory_gib * 2**30)
        if self.device.type == "cuda":
            return torch.cuda.get_device_properties(self.device).total_memory
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2

    def peak_memory(self) -> int:
        """Bytes that this process took at most so far: of the GPU where it runs there."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_memory()


def start_runtime(runtime: Mapping[str, Any], threads: int) -> Machine:
    """Set the threads of this process, and find the machine that the config block names."""
    use_threads(threads)
    device = choose_device(runtime.get("device", "auto"))
    memory = runtime.get("memory_gib", "auto")
    precision = choose_precision(runtime.get("precision", "auto"), device)
    if device.type == "cuda":
        # Beside half precision, the products left in float32 lose nothing with TF32's 10 bits.
        torch.set_float32_matmul_precision("highest" if precision == torch.float32 else "high")
    return Machine(
        device,
        precision,
        None if memory == "auto" else memory,
        runtime.get("recompute", False),
    )


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto`: on a GPU bfloat16, or float16 where that is missing, such as a T4; else float32."""
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        # Emulated bfloat16, which a T4 offers, would be slower than float32.
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if has_bfloat16 else torch.float16
    if name == "float16" and device.type != "cuda":
        raise UserError("runtime.precision is float16, which needs a GPU; use auto or float32")
    return PRECISIONS[name]


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


def random_state(device: torch.device) -> list[torch.Tensor]:
    """State of the generators that a run on `device` draws from."""
    states = [torch.get_rng_state()]
    return states + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def set_random_state(states: Sequence[torch.Tensor], device: torch.device) -> None:
    """Let draws follow as they did from `random_state` on."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
