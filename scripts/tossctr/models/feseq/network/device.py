"""The device and the threads that PyTorch runs on."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from sysconfig import get_path
from typing import TypeVar

import torch
from torch.utils._triton import has_triton

from ....batches.batch import Batch
from ....common.errors import UserError, first_line
from ....common.machine import SAID_CPU, machine_memory, peak_memory, processors
from ....common.prefetch import prefetch_map
from ....config.declared import Runtime
from .ranks import Ranks

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Machine:
    """Where and how models run; it changes only rounding and draws of dropout in a result."""

    device: torch.device
    precision: torch.dtype = torch.float32
    memory_gib: float | None = None
    ranks: Ranks = field(default_factory=Ranks)
    compile: bool = False

    def autocast(self) -> AbstractContextManager[None]:
        """Products of positions in `precision`; with float32 nothing changes.

        Sums, norms and what stands for a whole row stay in float32.
        """
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, self.precision, enabled=enabled)

    def prefetch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; for a GPU pinned ahead of use, so that no step waits for its copy."""
        return prefetch_map(Batch.pinned, batches) if self.device.type == "cuda" else batches

    def memory(self) -> int:
        """Bytes that a training may use: as set, else all of a GPU's or half of the computer's.

        Free memory is not used: rounding would then depend on the moment. Ranks on a CPU share it.
        """
        sharing = 1 if self.device.type == "cuda" else self.ranks.count
        if self.memory_gib is not None:
            return int(self.memory_gib * 2**30) // sharing
        if self.device.type == "cuda":
            return torch.cuda.get_device_properties(self.device).total_memory
        return machine_memory() // 2 // sharing

    def peak_memory(self) -> int:
        """The peak bytes of this process so far, on the GPU if it runs there."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_memory()


def start_runtime(runtime: Runtime, threads: int, ranks: Ranks | None = None) -> Machine:
    """Set the threads of this process, at most one per CPU, and find the device of `runtime`.

    Each of several `ranks` gets its share of the threads and a GPU.
    """
    ranks = ranks or Ranks()
    torch.set_num_threads(max(1, min(threads // ranks.count, processors())))
    device = choose_device(runtime.device, ranks)
    precision = choose_precision(runtime.precision, device)
    if device.type == "cuda":
        # Beside half precision, the products left in float32 lose nothing with TF32's 10 bits.
        torch.set_float32_matmul_precision("highest" if precision == torch.float32 else "high")
    return Machine(
        device,
        precision,
        None if runtime.memory_gib == "auto" else runtime.memory_gib,
        ranks,
        can_compile(device),
    )


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU; on a GPU bfloat16, or float16 if it lacks that, as a T4 does."""
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        # Emulated bfloat16, which a T4 offers, would be slower than float32.
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if has_bfloat16 else torch.float16
    if name == "float16" and device.type != "cuda":
        raise UserError("runtime.precision is float16, which needs a GPU; use auto or float32")
    return getattr(torch, name)


def can_compile(device: torch.device) -> bool:
    """True for a GPU for which torch.compile has all it needs; warns if something is missing."""
    if device.type == "cpu":
        return False
    needs = {
        "a GPU that PyTorch's Triton compiles for": has_triton(),
        "a C compiler (gcc, clang)": bool(os.environ.get("CC") or which("gcc") or which("clang")),
        "Python.h (python3-dev)": Path(get_path("include"), "Python.h").exists(),
    }
    missing = [need for need, is_there in needs.items() if not is_there]
    if missing:
        logger.warning("layers are not compiled, which costs speed: they need %s", missing[0])
    return not missing


def choose_device(name: str, ranks: Ranks) -> torch.device:
    """The device of that name; `auto` is CUDA if it is available, else the CPU, with a warning.

    Raises UserError if CUDA is named and missing, since nobody who asks for a GPU wants a CPU run,
    and if a machine has fewer devices than ranks.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("runtime.device is cuda, and PyTorch finds no CUDA device; use auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu":
            # A local Snakemake has warned already, once for all of its jobs.
            level = logging.INFO if os.environ.get(SAID_CPU) else logging.WARNING
            logger.log(level, "no CUDA device found: running on the CPU")
    device = torch.device(name)
    if device.type == "cuda" and ranks.count > 1:
        devices = torch.cuda.device_count()
        if devices < ranks.count:
            raise UserError(
                f"train.gpus is {ranks.count}, and PyTorch finds {devices} CUDA devices; "
                f"lower it, or let the job see more (CUDA_VISIBLE_DEVICES, or the scheduler's "
                f"request)"
            )
        device = torch.device("cuda", ranks.rank)
        torch.cuda.set_device(device)
    elif ranks.count > 1:
        logger.warning("the device is the CPU, which %d processes share", ranks.count)
    if device.type == "cuda":
        # Same data, same config, same machine, same result; cuBLAS reads this when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Not with warn_only: fused attention would take that for a no.
        torch.use_deterministic_algorithms(True)
        # Nothing here reads memory before it is written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        logger.info("device: %s", torch.cuda.get_device_name(device))
    return device


def deterministic_if_possible(work: Callable[[], Result]) -> Result:
    """The result of `work`, which is repeated if a GPU has no deterministic algorithm for it.

    From then on the process may round differently than another run, and the log warns.
    """
    try:
        return work()
    except RuntimeError as error:
        is_strict = not torch.is_deterministic_algorithms_warn_only_enabled()
        if "deterministic" not in str(error) or not is_strict:
            raise
        logger.warning(
            "another run may give slightly other results: %s", first_line(error).partition(", ")[0]
        )
    torch.use_deterministic_algorithms(True, warn_only=True)
    return work()
