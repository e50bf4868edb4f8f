"""The device, the precision, the threads and the processes that PyTorch runs on."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from shutil import which
from sysconfig import get_path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._triton import has_triton

from ....batches.batch import Batch
from ....common.errors import UserError, first_line
from ....common.machine import machine_memory, peak_memory, processors
from ....common.prefetch import prefetch_map
from ....common.signals import default_signal_handlers
from ....config.declared import Runtime

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
# Processes may wait while one of them writes a large state to a slow disk.
_TIMEOUT = timedelta(hours=2)
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ProcessRank:
    """This process's number (`rank`, from 0) among the `count` processes of a training."""

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """True for rank 0, which writes files and logs."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place, and return it."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def max_over_processes(self, *numbers: int) -> list[int]:
        """The maximum of each number over all processes."""
        # On the CPU, so that the host does not wait for the GPU.
        return self._reduce(torch.tensor(numbers), dist.ReduceOp.MAX).tolist()

    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over all processes, in place. All small tensors go in one message."""
        small = [tensor for tensor in tensors if tensor.numel() <= 1 << 18]
        for tensor in tensors:
            if tensor.numel() > 1 << 18:
                self.sum(tensor)
        if small:
            total = self.sum(torch.cat([tensor.flatten() for tensor in small]))
            for tensor, summed in zip(small, total.split([t.numel() for t in small])):
                tensor.copy_(summed.view_as(tensor))

    def slice_of_rank(self, total: int) -> tuple[int, int]:
        """The start and stop of this process's share of `total` items."""
        return total * self.rank // self.count, total * (self.rank + 1) // self.count

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.count > 1:
            try:
                dist.all_reduce(tensor, operation)
            except RuntimeError as error:
                reason = first_line(error).partition(". ")[0]
                raise UserError(
                    f"the processes of this training lost their connection ({reason}); run the "
                    f"same command again to resume from the last saved state"
                ) from None
        return tensor


_SINGLE_PROCESS = ProcessRank()


@dataclass(frozen=True)
class Machine:
    """What a model runs on: device, precision, memory, and the processes of a training.

    `memory_gib` is the setting of that name; None: auto. `compile` is true if torch.compile works.
    """

    device: torch.device
    precision: torch.dtype = torch.float32
    memory_gib: float | None = None
    ranks: ProcessRank = _SINGLE_PROCESS
    compile: bool = False

    def autocast(self) -> AbstractContextManager[None]:
        """A context in which matrix products have `precision`; sums and norms stay in float32."""
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, self.precision, enabled=enabled)

    def prefetch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; for a GPU, prefetched in pinned memory."""
        return prefetch_map(Batch.pinned, batches) if self.device.type == "cuda" else batches

    def memory(self) -> int:
        """The memory that this process may use, in bytes.

        On a CPU, the processes of a training share it equally. Memory in use is not subtracted,
        so that micro-batches, and thus rounding, do not vary between runs.
        """
        sharing = 1 if self.device.type == "cuda" else self.ranks.count
        if self.memory_gib is not None:
            return int(self.memory_gib * 2**30) // sharing
        if self.device.type == "cuda":
            return torch.cuda.get_device_properties(self.device).total_memory
        return machine_memory() // 2 // sharing

    def peak_memory(self) -> int:
        """The peak memory of this process so far, in bytes: on the GPU, or else on the host."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_memory()


def set_up_machine(runtime: Runtime, threads: int, ranks: ProcessRank = _SINGLE_PROCESS) -> Machine:
    """Set the number of threads of this process, and choose its device and precision.

    Several processes share `threads`, and each gets a GPU of its own. A process has at most one
    thread per CPU.
    """
    torch.set_num_threads(max(1, min(threads // ranks.count, processors())))
    device = choose_device(runtime.device, ranks)
    precision = choose_precision(runtime.precision, device)
    if device.type == "cuda":
        # With half precision, the 10 bits of TF32 are enough for the products in float32.
        torch.set_float32_matmul_precision("highest" if precision == torch.float32 else "high")
    memory = None if runtime.memory_gib == "auto" else runtime.memory_gib
    return Machine(device, precision, memory, ranks, can_compile(device))


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The named precision; `auto`: float32 on a CPU, bfloat16 on a GPU, float16 on an old GPU.

    Raises UserError for float16 on a CPU.
    """
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        # A T4 emulates bfloat16, which is slower than float32.
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if has_bfloat16 else torch.float16
    if name == "float16" and device.type != "cuda":
        raise UserError(
            "the setting runtime.precision is float16, which needs a GPU; use auto or float32"
        )
    return getattr(torch, name)


def can_compile(device: torch.device) -> bool:
    """True on a GPU if torch.compile has all that it needs. Warns if something is missing."""
    if device.type == "cpu":
        return False
    needs = {
        "a GPU that PyTorch's Triton compiles for": has_triton(),
        "a C compiler (gcc, clang)": bool(os.environ.get("CC") or which("gcc") or which("clang")),
        "Python.h (python3-dev)": Path(get_path("include"), "Python.h").exists(),
    }
    missing = [need for need, is_there in needs.items() if not is_there]
    if missing:
        logger.warning("layers are not compiled, so training is slower; missing: %s", missing[0])
    return not missing


def choose_device(name: str, ranks: ProcessRank) -> torch.device:
    """The device of this process; `name` is `cpu`, `cuda`, or `auto`: CUDA if it is available.

    Raises UserError if `name` is `cuda` and CUDA is missing, or if GPUs are fewer than processes.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise UserError(
            "the setting runtime.device is cuda, but PyTorch finds no CUDA device; use auto or cpu"
        )
    if name == "cpu" or not has_cuda:
        logger.info("device: cpu")
        return torch.device("cpu")
    device = torch.device("cuda")
    if ranks.count > 1:
        if (devices := torch.cuda.device_count()) < ranks.count:
            raise UserError(
                f"the setting train.gpus is {ranks.count}, but PyTorch finds only {devices} CUDA "
                f"device(s); lower train.gpus, or give the job more GPUs"
            )
        device = torch.device("cuda", ranks.rank)
        torch.cuda.set_device(device)
    # Equal runs on a machine get equal results; cuBLAS reads the variable at its start.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Without warn_only, with which fused attention is not deterministic.
    torch.use_deterministic_algorithms(True)
    # No code here reads uninitialized memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    logger.info("device: %s", torch.cuda.get_device_name(device))
    return device


def deterministic_if_possible(work: Callable[[], Result]) -> Result:
    """Call `work` and return its result, with deterministic algorithms if the GPU has them.

    If the GPU has none for `work`, warn, allow other algorithms, and repeat `work`.
    """
    try:
        return work()
    except RuntimeError as error:
        is_strict = not torch.is_deterministic_algorithms_warn_only_enabled()
        if "deterministic" not in str(error) or not is_strict:
            raise
        reason = first_line(error).partition(", ")[0]
        logger.warning("results may differ slightly between runs: %s", reason)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return work()


def in_torchrun() -> bool:
    """True if torchrun has started this process."""
    # Not the variable RANK, which Kubernetes sets, too.
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def process_group() -> Iterator[ProcessRank]:
    """Join the other processes of a training; yields this process's rank, as torchrun set it."""
    ranks = ProcessRank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if os.environ.get("MASTER_ADDR") in _THIS_MACHINE and sys.platform == "linux":
        # By default, Gloo uses the host name's address, which may not be reachable.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with default_signal_handlers():
        logger.info("rank %d waits for all %d processes to start", ranks.rank, ranks.count)
        dist.init_process_group(backend, timeout=_TIMEOUT)
    yield ranks
    # Not after a failure: this process and the other processes would wait for each other.
    dist.destroy_process_group()
