"""Several processes at one training, the ranks: each takes a share of every batch's rows.

A step adds their gradients up, which makes it the step of one process but for the order of the sums
and the draws of dropout. Each has the whole model and optimizer, and all of them take the same
decisions; rank 0 alone writes.

Not torch's DistributedDataParallel: that adds gradients up while the backward pass still runs, so
that a rank which runs out of memory there cannot go back and repeat its share in smaller
micro-batches without leaving the others behind. Here all is local until the sums at the end.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from ..common.errors import UserError

# A rank may wait for another as long as that writes a large state to a slow disk.
_LONGEST_WAIT = timedelta(hours=2)
# Of tensors; the sum of smaller ones takes longer to begin than to do.
_SMALL = 1 << 18
# For the starter to see which process is gone, and end the others.
_SECONDS_TO_BE_ENDED = 5


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those of a training; by default it is alone."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """True for the one that writes."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> Tensor:
        """The sum of all ranks' tensors of that shape, put in place of each."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def largest(self, *numbers: int) -> list[int]:
        """Of each number the largest that any rank gave."""
        # On the CPU whatever the device: the GPU need not be waited for.
        return self._reduce(torch.tensor(numbers), dist.ReduceOp.MAX).tolist()

    def agree(self, number: int, otherwise: str) -> None:
        """Raise UserError with the text `otherwise` if not all ranks gave the same number."""
        largest, minus_smallest = self.largest(number, -number)
        if largest != -minus_smallest:
            raise UserError(otherwise)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        self.largest(0)

    def add_all(self, tensors: Sequence[Tensor]) -> None:
        """`add` for each tensor, contiguous ones; those that are small as one message."""
        if self.count == 1:
            return
        small = [tensor for tensor in tensors if tensor.numel() <= _SMALL]
        for tensor in tensors:
            if tensor.numel() > _SMALL:
                self.add(tensor)
        if small:
            total = self.add(torch.cat([tensor.flatten() for tensor in small]))
            for tensor, part in zip(small, total.split([t.numel() for t in small])):
                tensor.copy_(part.view_as(tensor))

    def share(self, total: int) -> tuple[int, int]:
        """Start and stop of this rank's part of `total` things in order."""
        return total * self.rank // self.count, total * (self.rank + 1) // self.count

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.count > 1:
            try:
                dist.all_reduce(tensor, operation)
            except RuntimeError as error:
                # The starter knows better what befell the other, and ends this one meanwhile.
                time.sleep(_SECONDS_TO_BE_ENDED)
                raise UserError(
                    f"the processes of this training lost one another ({error})"
                ) from None
        return tensor


@contextmanager
def joined(rank: int, count: int, meeting: Path) -> Iterator[Ranks]:
    """Join the other ranks, which meet at the file `meeting`, on one machine.

    Tensors on GPUs go by NCCL, those on the CPU by Gloo.
    """
    if sys.platform == "linux":
        # Else the address of the machine's name, which not every machine can reach.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(
        backend, init_method=f"file://{meeting}", rank=rank, world_size=count, timeout=_LONGEST_WAIT
    )
    yield Ranks(rank, count)
    # Not after a failure: with NCCL it would wait for the others, which wait for this one.
    dist.destroy_process_group()
