"""How many full-length rows of a training step fit into a GPU's memory, found without a GPU.

    python benchmarks/memory.py --size full --max_len 150 500

Counts what autograd saves for the backward pass, weights, gradients and optimizer, and prints per
precision the GiB of a whole batch and the rows of the largest micro-batch that fits. On a machine
with a GPU the measured peak of one such step stands beside the account. Before that, the
floating-point operations of a full-length row's training step, as PyTorch counts them.
"""

import argparse
from collections.abc import Iterable
from dataclasses import replace

import data
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from feseq.config.catalog import size_settings
from feseq.config.model import ModelConfig
from feseq.dataset.batch import Batch
from feseq.model import FESeq, FieldSizes
from feseq.model.device import Machine
from feseq.train.memory import StepMemory, full_rows
from feseq.train.step import Stepper

GPUS_GIB = (14, 16, 24, 80)
# Tables of the real data: categories, inventories, event codes; they hardly matter.
SIZES = FieldSizes(
    profile=(5, 11, 10, 27), target=(21,), sequence=(600,), numeric=len(data.COLUMNS.numeric)
)


def needed(config: ModelConfig, machine: Machine) -> StepMemory:
    """What a step needs, measured without a GPU."""
    network = FESeq(config, SIZES, recompute=machine.recompute)
    return StepMemory.measured(network, config, SIZES, machine.precision)


def operations(config: ModelConfig) -> float:
    """Floating-point operations of a full-length row, forward and backward."""
    network = FESeq(config, SIZES).train()
    counter = FlopCounterMode(display=False)
    # PyTorch counts the parts of this one, and not the fused attention of a CPU.
    with counter, sdpa_kernel(SDPBackend.MATH):
        network(full_rows(config, SIZES, 4)).sum().backward()
    return counter.get_total_flops() / 4


def operations_of_interaction(config: ModelConfig) -> float:
    """Those of the interacting layers, for each distinct position."""
    network = FESeq(config, SIZES).train()
    fields = len(SIZES.sequence) + len(SIZES.profile)
    positions_UFd = torch.zeros(8, fields, config.embedding_dim, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        network.interaction(positions_UFd).sum().backward()
    return counter.get_total_flops() / 8


class Operations:
    """Floating-point operations of a training step, forward and backward, by rows' lengths.

    Those of a row are a square function of its positions. Interacting layers work on distinct
    positions alone, and only those count.
    """

    def __init__(self, config: ModelConfig) -> None:
        short = [8, 16, 32]
        counts = [operations(replace(config, max_len=n)) for n in short]
        powers = torch.tensor([[1.0, n, n * n] for n in short], dtype=torch.float64)
        self.row = torch.linalg.solve(powers, torch.tensor(counts, dtype=torch.float64))
        self.position = operations_of_interaction(config)

    def of(self, batches: Iterable[Batch]) -> float:
        """Of these batches."""
        total = 0.0
        for batch in batches:
            events = batch.offsets.diff().double()
            total += float((self.row @ torch.stack([events**0, events, events**2])).sum())
            layout = batch.layout
            repeated = len(layout.place_N) - len(layout.event_V) - len(batch)
            total -= self.position * repeated
        return total


def measured_peak(config: ModelConfig, machine: Machine, rows: int) -> float:
    """Peak GiB of the second of two steps on this machine's GPU."""
    network = FESeq(config, SIZES, recompute=machine.recompute).to(machine.device).train()
    stepper = Stepper(network, torch.optim.Adam(network.parameters(), fused=True), machine)
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        stepper.take(full_rows(config, SIZES, rows))
    return torch.cuda.max_memory_allocated() / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="full")
    parser.add_argument("--max_len", type=int, nargs="+", default=[150, 500])
    options = parser.parse_args()
    settings = size_settings(data.CONFIG, options.size)
    rows = settings["train"]["batch_size"]
    for max_len in options.max_len:
        count = operations(ModelConfig(max_len=max_len, **settings["model"]))
        print(f"max_len {max_len}: {count / 1e9:.2f} GFLOP a row of a training step")
    has_gpu = torch.cuda.is_available()
    fitting = " | ".join(f"rows in {gib} GiB" for gib in GPUS_GIB)
    print(f"| max_len | precision | recompute | GiB of {rows:,} rows | {fitting} | measured GiB |")
    print("|---|---|---|---|" + "---|" * (len(GPUS_GIB) + 1))
    for max_len in options.max_len:
        config = ModelConfig(max_len=max_len, **settings["model"])
        for precision in (torch.float32, torch.bfloat16):
            for recompute in (False, True):
                machine = Machine(torch.device("cuda"), precision, None, recompute)
                found, peak = needed(config, machine), ""
                if has_gpu:
                    fits = min(rows, found.rows_in(torch.cuda.mem_get_info()[0]))
                    peak = f"{measured_peak(config, machine, fits):.1f} for {fits:,} rows"
                fit = " | ".join(f"{found.rows_in(gib * 2**30):,}" for gib in GPUS_GIB)
                name = "float32" if precision == torch.float32 else "bfloat16, float16"
                print(
                    f"| {max_len} | {name} | {'yes' if recompute else 'no'} "
                    f"| {found.step(rows) / 2**30:.1f} | {fit} | {peak} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
