"""The device and the threads that PyTorch runs on."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
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
from ....common.machine import CPU_WARNED, machine_memory, peak_memory, processors
from ....common.prefetch import prefetch_map
from ....common.signals import default_signal_handlers
from ....config.declared import Runtime

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
# A rank may have to wait while another writes a large state to a slow disk.
_LONGEST_WAIT = timedelta(hours=2)
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Ranks:
    """This process's rank among the `count` processes of a training; by default, the only one."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """True for the rank that writes."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all ranks, in place, and return it."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def largest(self, *numbers: int) -> list[int]:
        """The largest value of each number on any rank."""
        # Always on the CPU, so as not to wait for the GPU.
        return self._reduce(torch.tensor(numbers), dist.ReduceOp.MAX).tolist()

    def wait(self) -> None:
        """Wait until all ranks are here."""
        self.largest(0)

    def add_all(self, tensors: Sequence[Tensor]) -> None:
        """`add` each tensor: a message for each large one, and one for all small ones."""
        small = [tensor for tensor in tensors if tensor.numel() <= 1 << 18]
        for tensor in tensors:
            if tensor.numel() > 1 << 18:
                self.add(tensor)
        if self.count > 1 and small:
            total = self.add(torch.cat([tensor.flatten() for tensor in small]))
            for tensor, summed in zip(small, total.split([t.numel() for t in small])):
                tensor.copy_(summed.view_as(tensor))

    def share(self, total: int) -> tuple[int, int]:
        """Start and stop of this rank's share of `total` items."""
        return total * self.rank // self.count, total * (self.rank + 1) // self.count

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.count > 1:
            try:
                dist.all_reduce(tensor, operation)
            except RuntimeError as error:
                reason = first_line(error).partition(". ")[0]
                raise UserError(
                    f"the processes of this training lost their connection ({reason}); the same "
                    f"command resumes from the last saved state"
                ) from None
        return tensor


@dataclass(frozen=True)
class Machine:
    """Where and how models run; it changes only rounding and draws of dropout in a result."""

    device: torch.device
    precision: torch.dtype = torch.float32
    memory_gib: float | None = None
    ranks: Ranks = field(default_factory=Ranks)
    compile: bool = False

    def autocast(self) -> AbstractContextManager[None]:
        """A block with products of positions in `precision`; with float32, nothing changes.

        Sums, norms and vectors of whole rows stay in float32.
        """
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, self.precision, enabled=enabled)

    def prefetch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; for a GPU, pinned in advance, so that no step waits for its copy."""
        return prefetch_map(Batch.pinned, batches) if self.device.type == "cuda" else batches

    def memory(self) -> int:
        """Bytes that a training may use: as set, or all of a GPU's, or half of the computer's.

        Free memory is not considered: rounding would depend on it. Ranks on a CPU share the bytes.
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
        # Beside half precision, the other products, in float32, lose nothing with TF32's 10 bits.
        torch.set_float32_matmul_precision("highest" if precision == torch.float32 else "high")
    return Machine(
        device,
        precision,
        None if runtime.memory_gib == "auto" else runtime.memory_gib,
        ranks,
        can_compile(device),
    )


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, bfloat16 on a GPU, float16 on a GPU without it, such as a T4."""
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

    Raises UserError if a machine has fewer devices than ranks, or if CUDA is named and missing:
    nobody who asks for a GPU wants a CPU run.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("runtime.device is cuda, but PyTorch finds no CUDA device; use auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        # A local Snakemake has warned already, once for all of its jobs.
        if name == "cpu" and not os.environ.get(CPU_WARNED):
            logger.warning("no CUDA device found: running on the CPU")
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
        # Not with warn_only, which fused attention treats as off.
        torch.use_deterministic_algorithms(True)
        # Nothing here reads memory before it is written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        logger.info("device: %s", torch.cuda.get_device_name(device))
    return device


def deterministic_if_possible(work: Callable[[], Result]) -> Result:
    """The result of `work`, which is repeated if a GPU has no deterministic algorithm for it.

    From then on, this run may round differently from another, and the log warns of that.
    """
    try:
        return work()
    except RuntimeError as error:
        is_strict = not torch.is_deterministic_algorithms_warn_only_enabled()
        if "deterministic" not in str(error) or not is_strict:
            raise
        logger.warning("another run may differ slightly: %s", first_line(error).partition(", ")[0])
    torch.use_deterministic_algorithms(True, warn_only=True)
    return work()


def in_group() -> bool:
    """True if torchrun, started by the script or by a user, has started this process.

    RANK alone does not show it: Kubernetes sets it for pods whose trainings are one process each.
    """
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the group of ranks that torchrun's environment variables describe.

    NCCL sends tensors on GPUs, Gloo tensors on the CPU.
    """
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if ranks.count == 1:
        yield ranks
        return
    if os.environ.get("MASTER_ADDR") in _THIS_MACHINE and sys.platform == "linux":
        # Otherwise Gloo takes the address of the host name, which may not be reachable.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with default_signal_handlers():
        logger.info("process %d of %d waits for the others", ranks.rank, ranks.count)
        dist.init_process_group(backend, timeout=_LONGEST_WAIT)
    yield ranks
    # Not after a failure: NCCL would wait for the others, which wait for this one.
    dist.destroy_process_group()
