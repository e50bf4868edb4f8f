"""How many rows of a training step fit in memory, measured on a few rows before the first step."""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from ...batches.batch import Batch, PackedLayout
from ...common.errors import NotEnoughMemoryError
from .network import FESeq, FieldSizes
from .network.device import Machine
from .network.input_layer import column_count, encodings_by_layer
from .network.positions import MAX_ROWS
from .network_settings import ModelConfig

logger = logging.getLogger(__name__)

# In float32: the weights, their gradients, Adam's two moments, the average, and the best so far.
COPIES_OF_PARAMETERS = 6
# Beside the saved tensors, the backward pass holds gradients of a few of the largest tensors.
GRADIENTS_AT_ONCE = 3
# Left free for the allocator's gaps and the kernels' workspace.
SPARE_SHARE = 0.1
# A CPU is no faster with micro-batches of more bytes than this.
CPU_BYTES = 1 << 29


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step: `fixed`, and `per_row` of a micro-batch of full-length rows."""

    fixed: int
    per_row: int

    @classmethod
    def measured(
        cls, network: FESeq, config: ModelConfig, sizes: FieldSizes, precision: torch.dtype
    ) -> "StepMemory":
        """Measure what autograd saves for one row and for three; half the difference is one row.

        `network` is on the CPU, whose fused kernels save as much as a GPU's.
        """
        with torch.random.fork_rng(devices=[]):
            one, three = (
                _saved_bytes(network, full_rows(config, sizes, rows), precision) for rows in (1, 3)
            )
        per_row = (three - one) // 2
        parameters = 4 * COPIES_OF_PARAMETERS * count_parameters(network)
        return cls(parameters + one - per_row, per_row)

    def step(self, rows: int) -> int:
        """Bytes of a step with micro-batches of `rows` rows."""
        return int((self.fixed + rows * self.per_row) / (1 - SPARE_SHARE))

    def rows_in(self, memory: int) -> int:
        """Rows of the largest micro-batch that `memory` bytes hold; 0 if no row fits."""
        return max(0, int((memory * (1 - SPARE_SHARE) - self.fixed) // self.per_row))


def micro_batch_rows(
    network: FESeq,
    config: ModelConfig,
    sizes: FieldSizes,
    machine: Machine,
    batch_rows: int,
) -> int:
    """Rows of a batch that are computed at once: those that fit into memory, or into CPU_BYTES.

    Raises NotEnoughMemoryError if no row fits.
    """
    needed = StepMemory.measured(network, config, sizes, machine.precision)
    rows = min(batch_rows, needed.rows_in(machine.memory()))
    if rows == 0:
        raise NotEnoughMemoryError(
            f"{machine.memory() / 2**20:,.0f} MiB of memory (runtime.memory_gib) do not hold the "
            f"training of a single row, which needs {needed.step(1) / 2**20:,.0f} MiB; raise it, "
            f"or use a smaller max_len or model"
        )
    on_cpu = machine.device.type == "cpu"
    rows = min(rows, max(1, CPU_BYTES // needed.per_row) if on_cpu else MAX_ROWS)
    if rows < batch_rows:
        logger.info(
            "batches of %d rows in micro-batches of %d, whose gradients add up to the batch's",
            *(batch_rows, rows),
        )
    return rows


def count_parameters(network: FESeq) -> int:
    """The number of a network's weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def _saved_bytes(network: FESeq, batch: Batch, precision: torch.dtype) -> int:
    """Bytes that a step on `batch` holds: gradients, and what autograd saves except weights."""
    seen = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    # Kept alive: a later storage could otherwise get the same address.
    storages: list[torch.UntypedStorage] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            storages.append(storage)
        return tensor

    # Batch norms write to their buffers.
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    autocast = Machine(torch.device("cpu"), precision).autocast()
    with saved_tensors_hooks(note, lambda tensor: tensor), autocast:
        functional_call(network, buffers, (batch,))
    saved = [storage.nbytes() for storage in storages]
    return sum(saved) + GRADIENTS_AT_ONCE * max(saved)


def full_rows(config: ModelConfig, sizes: FieldSizes, rows: int) -> Batch:
    """Rows with max_len events each, all different as far as the tables allow.

    Sums over longer histories save some 10 bytes per further event, which are not counted.
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
