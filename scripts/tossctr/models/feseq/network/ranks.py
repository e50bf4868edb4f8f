"""The processes of one training, its ranks: each takes a share of every batch's rows.

A step sums their gradients, so it equals the step of one process except for the order of the sums
and the draws of dropout. Each rank has the whole model and optimizer, and all take the same
decisions; only rank 0 writes.

torch's DistributedDataParallel would not do: it sums gradients during the backward pass, so a rank
that runs out of memory there cannot repeat its share in smaller micro-batches without the others.
Here everything is local until the sums at the end.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from ....common.errors import UserError, first_line
from ....common.signals import signals_at_once

logger = logging.getLogger(__name__)

# A rank may wait for another as long as that writes a large state to a slow disk.
_LONGEST_WAIT = timedelta(hours=2)
# Elements; the sum of a smaller tensor takes longer to begin than to do.
_SMALL = 1 << 18
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among a training's; by default it is alone."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """True for the rank that writes."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> Tensor:
        """The sum of all ranks' tensors of that shape, written into each."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def largest(self, *numbers: int) -> list[int]:
        """For each number the largest that any rank passed."""
        # On the CPU whatever the device: the GPU need not be waited for.
        return self._reduce(torch.tensor(numbers), dist.ReduceOp.MAX).tolist()

    def wait(self) -> None:
        """Wait until all ranks are here."""
        self.largest(0)

    def add_all(self, tensors: Sequence[Tensor]) -> None:
        """`add` for each contiguous tensor; small ones go in one message."""
        if self.count == 1:
            return
        small = [tensor for tensor in tensors if tensor.numel() <= _SMALL]
        for tensor in tensors:
            if tensor.numel() > _SMALL:
                self.add(tensor)
        if small:
            total = self.add(torch.cat([tensor.flatten() for tensor in small]))
            for tensor, summed in zip(small, total.split([t.numel() for t in small])):
                tensor.copy_(summed.view_as(tensor))

    def share(self, total: int) -> tuple[int, int]:
        """Start and stop of this rank's share of `total` things in order."""
        return total * self.rank // self.count, total * (self.rank + 1) // self.count

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.count > 1:
            try:
                dist.all_reduce(tensor, operation)
            except RuntimeError as error:
                reason = first_line(error).partition(". ")[0]
                raise UserError(
                    f"the processes of this training lost one another ({reason}); the same command "
                    f"goes on from the last saved state"
                ) from None
        return tensor


def in_group() -> bool:
    """True if torchrun, started by the script or by a user, has started this process.

    RANK alone does not show it: Kubernetes sets it for pods whose trainings are one process each.
    """
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other ranks, as torchrun's environment variables say.

    Tensors on GPUs go by NCCL, those on the CPU by Gloo.
    """
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if ranks.count == 1:
        yield ranks
        return
    if os.environ.get("MASTER_ADDR") in _THIS_MACHINE and sys.platform == "linux":
        # Otherwise Gloo takes the address of the machine's name, which it may not reach.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with signals_at_once():
        logger.info("process %d of %d waits for the others", ranks.rank, ranks.count)
        dist.init_process_group(backend, timeout=_LONGEST_WAIT)
    yield ranks
    # Not after a failure: NCCL would wait for the others, which wait for this one.
    dist.destroy_process_group()
