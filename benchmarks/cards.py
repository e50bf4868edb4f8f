"""A card: its name, its peak, and how one measures on it."""

import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from feseq.model.device import Machine

# TFLOP/s of dense products in half precision with sums in float32, by the makers' data sheets.
PEAKS = {
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "A100": 312,
    "A10G": 70,
    "A10": 125,
    "L40S": 362,
    "L4": 121,
    "T4": 65,
    "V100": 125,
    "RTX 3090": 71,
    "RTX 4090": 165,
}


def dtype_of(machine: Machine) -> str:
    """The type of its products."""
    return str(machine.precision).removeprefix("torch.")


def name_of(machine: Machine) -> str:
    """The device's name."""
    is_gpu = machine.device.type == "cuda"
    return torch.cuda.get_device_name(machine.device) if is_gpu else platform.processor() or "CPU"


def peak_of(name: str) -> float | None:
    """TFLOP/s by the data sheet of a card of this name."""
    known = (peak for card, peak in PEAKS.items() if re.search(rf"\b{card}\b", name))
    return next(known, None)


def matmul_peak(
    machine: Machine, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """TFLOP/s of large products of matrices in the machine's precision."""
    width = 8192 if machine.device.type == "cuda" else 512
    a = torch.ones(width, width, dtype=machine.precision, device=machine.device)

    def products() -> None:
        for _ in range(10):
            a @ a
        synchronize(machine)

    products()
    started, count = clock(), 0
    while clock() - started < seconds / 4:
        products()
        count += 10
    return 2 * width**3 * count / (clock() - started) / 1e12


def free_memory(machine: Machine) -> int:
    """Bytes that a GPU has left."""
    return torch.cuda.mem_get_info()[0] if machine.device.type == "cuda" else machine.memory()


def driver() -> str:
    """The version of NVIDIA's driver."""
    if shutil.which("nvidia-smi") is None:
        return "none"
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.split("\n")[0] or "unknown"


def synchronize(machine: Machine) -> None:
    """Wait for the GPU."""
    if machine.device.type == "cuda":
        torch.cuda.synchronize()


@contextmanager
def limited(machine: Machine, gib: int) -> Iterator[bool]:
    """A GPU with less memory; False where there is none, or it has no more anyway."""
    total = machine.memory()
    is_limited = machine.device.type == "cuda" and gib << 30 < total
    if is_limited:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction((gib << 30) / total)
    yield is_limited
    if is_limited:
        torch.cuda.set_per_process_memory_fraction(1.0)
