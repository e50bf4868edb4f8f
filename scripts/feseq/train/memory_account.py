"""The memory that a training step needs, found without a GPU and before the first step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..common.errors import NotEnoughMemoryError
from ..config.model import ModelConfig
from ..config.train import TrainConfig
from ..dataset.batch import Batch
from ..dataset.layout import Layout
from ..model import FESeq, FieldSizes
from ..model.device import Machine
from ..model.front import columns_of, numbers_of

# Adam: the weights, their gradients, and two moments, each in float32.
COPIES_OF_PARAMETERS = 4
# Beside what was saved, the backward pass holds gradients of a few of the largest tensors.
GRADIENTS_AT_ONCE = 3
# Left free for the allocator's gaps and the kernels' workspace.
SPARE_SHARE = 0.1


@dataclass(frozen=True)
class MemoryAccount:
    """Bytes of a training step: `fixed`, and `per_row` of a micro-batch of full-length rows."""

    fixed: int
    per_row: int

    def step(self, rows: int) -> int:
        """Bytes of a step with micro-batches of `rows` rows."""
        return int((self.fixed + rows * self.per_row) / (1 - SPARE_SHARE))

    def rows_in(self, memory: int) -> int:
        """Rows of the largest micro-batch that `memory` bytes hold; 0 if not one row."""
        return max(0, int((memory * (1 - SPARE_SHARE) - self.fixed) // self.per_row))


def copies_of(config: TrainConfig) -> int:
    """Values that a training keeps for each parameter; an average of the weights is one more."""
    return COPIES_OF_PARAMETERS + (config.weight_average > 0)


def check_network(
    config: ModelConfig, sizes: FieldSizes, memory: int, copies: int = COPIES_OF_PARAMETERS
) -> None:
    """Raise NotEnoughMemoryError if the network alone exceeds `memory` bytes; allocates nothing."""
    with torch.device("meta"):
        named = list(FESeq(config, sizes).named_parameters())
    parameters = sum(parameter.numel() for _, parameter in named)
    needed = 4 * copies * parameters
    if needed > memory:
        name, largest = max(named, key=lambda pair: pair[1].numel())
        shape = " x ".join(f"{size:,}" for size in largest.shape)
        raise NotEnoughMemoryError(
            f"the network's {parameters:,} parameters need {needed / 2**20:,.0f} MiB with their "
            f"gradients and Adam's moments, and there are {memory / 2**20:,.0f} MiB "
            f"(runtime.memory_gib); most are in {name}, {shape}: lower "
            f"model.embedding_dim, model.crossing, model.mlp or model.mlp_cross_rank, or "
            f"raise sizes.<size>.min_count, which makes vocabularies smaller"
        )


def account(
    config: ModelConfig,
    sizes: FieldSizes,
    precision: torch.dtype,
    recompute: bool = False,
    copies: int = COPIES_OF_PARAMETERS,
) -> MemoryAccount:
    """Count what autograd saves for two small batches of full-length rows, their events distinct.

    The difference of the two is what a row adds; the fused kernels of CPU and GPU save alike.
    """
    random_state = torch.get_rng_state()
    one, three = (_step_bytes(config, sizes, precision, recompute, rows) for rows in (1, 3))
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in FESeq(config, sizes).parameters())
    torch.set_rng_state(random_state)
    per_row = (three - one) // 2
    return MemoryAccount(4 * copies * parameters + one - per_row, per_row)


def _step_bytes(
    config: ModelConfig, sizes: FieldSizes, precision: torch.dtype, recompute: bool, rows: int
) -> int:
    saved = _saved(config, sizes, precision, rows)
    total = saved.bytes + GRADIENTS_AT_ONCE * saved.largest
    layers = config.transformer_layers
    if recompute and layers:
        shallower = replace(config, transformer_layers=layers - 1)
        layer_bytes = saved.bytes - _saved(shallower, sizes, precision, rows).bytes
        # All layers but the one at work keep only their input.
        width = config.width(len(sizes.sequence) + len(sizes.profile))
        total -= (layers - 1) * (layer_bytes - 4 * rows * (config.max_len + 1) * width)
    return total


def _saved(config: ModelConfig, sizes: FieldSizes, precision: torch.dtype, rows: int) -> "Saved":
    network = FESeq(config, sizes).train()
    with count_saved(network) as saved, Machine(torch.device("cpu"), precision).autocast():
        network(full_rows(config, sizes, rows)).sum()
    return saved


@dataclass
class Saved:
    """Bytes of the tensors that autograd saved, and of the largest one."""

    bytes: int = 0
    largest: int = 0


@contextmanager
def count_saved(network: FESeq) -> Iterator[Saved]:
    """Count each storage once, and no parameter."""
    saved = Saved()
    seen = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    # Storages must live on, or a later one may come to lie at the same address.
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            alive.append(storage)
            saved.bytes += storage.nbytes()
            saved.largest = max(saved.largest, storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def full_rows(config: ModelConfig, sizes: FieldSizes, rows: int) -> Batch:
    """Rows with max_len events each, no two alike as far as the tables allow."""
    events = rows * config.max_len
    history_ST = torch.stack([torch.arange(events) % size for size in sizes.sequence])
    offsets = torch.arange(rows + 1) * config.max_len
    numbers = set(numbers_of(config).values())
    return Batch(
        numbers={kind: torch.zeros(rows, columns_of(kind, sizes)) for kind in numbers},
        profile_BP=torch.zeros(rows, len(sizes.profile), dtype=torch.long),
        target_BG=torch.zeros(rows, len(sizes.target), dtype=torch.long),
        context_BC=torch.zeros(rows, len(sizes.context), dtype=torch.long),
        row_B=torch.arange(rows),
        label_B=torch.zeros(rows),
        history_ST=history_ST,
        elapsed_T=torch.zeros(events, dtype=torch.long) if config.times else None,
        offsets=offsets,
        layout=Layout.of(history_ST, offsets),
    )
