"""The measured memory of a step against what autograd and PyTorch's tracker see."""

from dataclasses import replace

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker

from feseq.common.errors import NotEnoughMemoryError
from feseq.model import FESeq
from feseq.model.device import Machine
from feseq.train.memory import (
    CPU_BYTES,
    SPARE_SHARE,
    StepMemory,
    check_network,
    full_rows,
    micro_batch_rows,
)
from feseq.train.step import Stepper
from support.networks import CONFIG, SIZES, make_model

WIDE = replace(CONFIG, max_len=200, embedding_dim=8, heads=2, dropout=0.1)


def test_a_network_that_cannot_fit_is_refused_before_it_is_made() -> None:
    # 16 TB, which no test machine could allocate.
    sizes = replace(SIZES, profile=(10**9, 3))
    config = replace(CONFIG, embedding_dim=1000, heads=1)
    with pytest.raises(NotEnoughMemoryError) as refused:
        check_network(config, sizes, 10**12)
    assert "profile.0.weight, 1,000,000,000 x 1,000" in str(refused.value)
    parameters = sum(parameter.numel() for parameter in make_model().parameters())
    check_network(CONFIG, SIZES, 16 * parameters)
    with pytest.raises(NotEnoughMemoryError):
        check_network(CONFIG, SIZES, 16 * parameters - 1)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_is_measured_is_near_the_peak_of_a_step(precision: torch.dtype) -> None:
    # Wide enough that positions, not the rows' other fields, take the memory.
    config = replace(WIDE, embedding_dim=32, pooling="weighted_sum", score="din")
    model = FESeq(config, SIZES).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = StepMemory.measured(model, config, SIZES, precision)
    # Network and random numbers stay as they were.
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    stepper = Stepper(model, optimizer, Machine(torch.device("cpu"), precision))
    stepper.take(full_rows(config, SIZES, 1))
    peaks = []
    for rows in (4, 12):
        batch, tracker = full_rows(config, SIZES, rows), MemTracker()
        tracker.track_external(model, optimizer)
        with tracker:
            stepper.take(batch)
        peaks.append(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])
    per_row = (peaks[1] - peaks[0]) / 8
    # In half precision it must not be less, but for what is left free.
    assert (1 - SPARE_SHARE) * per_row < found.per_row < 1.3 * per_row
    assert peaks[0] < found.step(4)
    assert peaks[1] < found.step(12)
    # Rows that fit do, and one more does not.
    for memory in (10 * found.step(1), 3_456_789_012):
        rows = found.rows_in(memory)
        assert found.step(rows) <= memory < found.step(rows + 1)
    assert found.rows_in(found.step(1) - 1) == 0


def test_attention_needs_no_memory_that_grows_with_the_square_of_the_length() -> None:
    per_row = []
    for length in (200, 400, 800):
        config = replace(WIDE, max_len=length)
        found = StepMemory.measured(FESeq(config, SIZES), config, SIZES, torch.float32)
        per_row.append(found.per_row)
    short, middle, long = per_row
    assert (long - middle) == pytest.approx(2 * (middle - short), rel=0.02)


def test_micro_batches_of_a_cpu_are_small_however_much_memory_it_has() -> None:
    model, per_row = FESeq(WIDE, SIZES), {}
    for device in ("cpu", "cuda"):
        machine = Machine(torch.device(device), memory_gib=64)
        rows = micro_batch_rows(model, WIDE, SIZES, machine, 10**9)
        per_row[device] = CPU_BYTES / rows
    needed = StepMemory.measured(model, WIDE, SIZES, torch.float32).per_row
    assert needed <= per_row["cpu"] < 1.1 * needed
    assert per_row["cuda"] < needed / 50
