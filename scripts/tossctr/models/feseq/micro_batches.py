"""Measures the memory of a training step, and chooses micro-batches that fit in memory."""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from ...batches.batch import Batch, PackedLayout
from ...common.errors import NotEnoughMemoryError
from .network import FESeq, InputSizes
from .network.device import Machine
from .network.input_layer import column_count, encodings_by_layer
from .network.positions import MAX_ROWS
from .network_settings import ModelConfig

logger = logging.getLogger(__name__)

# Float32 copies: the weights, gradients, Adam's two moments, averaged weights, best weights.
COPIES_OF_PARAMETERS = 6
# The backward pass also holds gradients of a few of the largest tensors at once.
GRADIENTS_AT_ONCE = 3
# Share of memory left free for the allocator's gaps and the kernels' workspace.
SPARE_SHARE = 0.1
# Larger micro-batches, in bytes, are no faster on a CPU.
CPU_BYTES = 1 << 29


@dataclass(frozen=True)
class StepMemory:
    """The memory of a training step: `fixed` bytes, and `per_row` bytes for each row.

    Each row counts as if it had max_len events.
    """

    fixed: int
    per_row: int

    @classmethod
    def measure(
        cls, network: FESeq, config: ModelConfig, sizes: InputSizes, precision: torch.dtype
    ) -> "StepMemory":
        """Measure a step's memory by steps with one row and with three rows.

        `network` must be on the CPU, where autograd saves as many bytes as on a GPU.
        """
        with torch.random.fork_rng(devices=[]):
            one, three = (
                _saved_bytes(network, largest_batch(config, sizes, rows), precision)
                for rows in (1, 3)
            )
        per_row = (three - one) // 2
        parameters = 4 * COPIES_OF_PARAMETERS * count_parameters(network)
        return cls(parameters + one - per_row, per_row)

    def bytes_needed(self, rows: int) -> int:
        """The bytes that a micro-batch of `rows` rows needs, including the free SPARE_SHARE."""
        return int((self.fixed + rows * self.per_row) / (1 - SPARE_SHARE))

    def rows_that_fit(self, memory: int) -> int:
        """How many rows of a micro-batch fit in `memory` bytes; 0 if not even one does."""
        return max(0, int((memory * (1 - SPARE_SHARE) - self.fixed) // self.per_row))


def micro_batch_rows(
    network: FESeq, config: ModelConfig, sizes: InputSizes, machine: Machine, batch_rows: int
) -> int:
    """The number of rows of a micro-batch: as many as fit in memory, but at most `batch_rows`.

    On a CPU, a micro-batch takes at most CPU_BYTES. Raises NotEnoughMemoryError if a single row
    does not fit.
    """
    needed = StepMemory.measure(network, config, sizes, machine.precision)
    rows = min(batch_rows, needed.rows_that_fit(machine.memory()))
    if rows == 0:
        raise NotEnoughMemoryError(
            f"{machine.memory() / 2**20:,.0f} MiB of memory are not enough: training on a "
            f"single row needs {needed.bytes_needed(1) / 2**20:,.0f} MiB; raise the setting "
            f"runtime.memory_gib, or use a smaller max_len or model"
        )
    on_cpu = machine.device.type == "cpu"
    rows = min(rows, max(1, CPU_BYTES // needed.per_row) if on_cpu else MAX_ROWS)
    if rows < batch_rows:
        logger.info("batches of %d rows are computed in micro-batches of %d", batch_rows, rows)
    return rows


def count_parameters(network: FESeq) -> int:
    """The number of weights of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _saved_bytes(network: FESeq, batch: Batch, precision: torch.dtype) -> int:
    """The bytes that autograd saves for `batch` (without weights), plus the bytes of gradients."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    # By address, and kept alive: otherwise a later storage could get the same address.
    storages: dict[int, torch.UntypedStorage] = {}

    def record_storage(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages.setdefault(storage.data_ptr(), storage)
        return tensor

    # Batch norms write to their buffers.
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    autocast = Machine(torch.device("cpu"), precision).autocast()
    with saved_tensors_hooks(record_storage, lambda tensor: tensor), autocast:
        functional_call(network, buffers, (batch,))
    saved = [storage.nbytes() for address, storage in storages.items() if address not in weights]
    return sum(saved) + GRADIENTS_AT_ONCE * max(saved)


def largest_batch(config: ModelConfig, sizes: InputSizes, rows: int) -> Batch:
    """A batch of `rows` rows with max_len events each, to measure the memory of a step.

    All events differ if the embedding tables, whose sizes are in `sizes`, are large enough.
    """
    events = rows * config.max_len
    history_ST = torch.stack([torch.arange(events) % size for size in sizes.sequence])
    offsets = torch.arange(rows + 1) * config.max_len
    encodings = set(encodings_by_layer(config).values())
    return Batch(
        numbers={name: torch.zeros(rows, column_count(name, sizes)) for name in encodings},
        profile_BP=torch.zeros(rows, len(sizes.profile), dtype=torch.long),
        target_BG=torch.zeros(rows, len(sizes.target), dtype=torch.long),
        context_BC=torch.zeros(rows, len(sizes.context), dtype=torch.long),
        row_B=torch.arange(rows),
        label_B=torch.zeros(rows),
        history_ST=history_ST,
        elapsed_T=torch.zeros(events, dtype=torch.long) if config.times else None,
        offsets=offsets,
        layout=PackedLayout.from_histories(history_ST, offsets, config.max_len),
    )
