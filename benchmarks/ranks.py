"""Several processes at one training beside one: losses step by step, rows seen, speed.

    python benchmarks/ranks.py --max_len 100 150 500 --processes 2 --threads 2

Makes simulated data of mean length 500 in a temporary folder. First each number of processes takes
the same steps without dropout, whose losses and rows are printed side by side; then each is timed
with it: one process with one thread and with all, and several that share them. `waiting` is the
share of a step that rank 0 spends on adding up gradients, in which it waits for the others too.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import data
import torch

from feseq.common.ranks import joined
from feseq.config.catalog import size_settings
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.dataset.batches import BatchSource
from feseq.dataset.feature_map import FeatureMap
from feseq.model.build import build_model
from feseq.model.device import start_runtime
from feseq.train.launch import launch
from feseq.train.step import Stepper

ROWS = 20_000


class Timed(Stepper):
    """Counts the seconds that its rank spends with the others."""

    waiting = 0.0

    def _join_ranks(self) -> None:
        started = time.perf_counter()
        super()._join_ranks()
        self.waiting += time.perf_counter() - started


def work(folder: Path, threads: int, dropout: float | None, options: argparse.Namespace) -> None:
    """Take steps as one of several; write losses, rows, seconds as JSON."""
    config = ModelConfig(
        max_len=options.max_len, **size_settings(data.CONFIG, options.size)["model"]
    )
    config = config if dropout is None else replace(config, dropout=dropout)
    fields = FeatureMap.read(folder / "feature_map.json")
    found: dict[str, Any] = {"losses": [], "rows": []}
    with joined() as place:
        machine = start_runtime(Runtime(device=options.device), threads, place)
        torch.manual_seed(0)
        network = build_model(config, fields).to(machine.device).train()
        optimizer = torch.optim.Adam(network.parameters(), fused=True)
        stepper = Timed(network, optimizer, machine)
        source = BatchSource(
            folder / "train.h5", fields, max_len=options.max_len, batch_rows=options.batch_rows
        )
        epoch = source.shuffled(seed=1, epoch=1, rank=place.rank, ranks=place.count)
        batches = islice(epoch, options.steps)
        # Warms up.
        stepper.take(next(source.shuffled(seed=1, epoch=2, rank=place.rank, ranks=place.count)))
        stepper.mean_loss()
        stepper.waiting = 0.0
        started = time.perf_counter()
        for batch in batches:
            stepper.take(batch)
            found["rows"].append(batch.row_B.tolist())
            if dropout is not None:
                found["losses"].append(stepper.mean_loss())
        if machine.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    found |= {"seconds": seconds, "waiting": stepper.waiting / seconds}
    found["peak_mib"] = machine.peak_memory() / 2**20
    (folder / f"found{place.rank}.json").write_text(json.dumps(found))


def run(
    ranks: int, folder: Path, threads: int, dropout: float | None, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """What each rank found."""
    launch(ranks, work, folder, threads, dropout, options)
    return [json.loads((folder / f"found{rank}.json").read_text()) for rank in range(ranks)]


def compare_losses(folder: Path, options: argparse.Namespace) -> None:
    """Print losses and rows of each step, of one process and of several."""
    (one,) = run(1, folder, options.threads, 0.0, options)
    several = run(options.processes, folder, options.threads, 0.0, options)
    print(f"| step | loss, 1 process | {options.processes} | difference | rows | of each | once |")
    print("|---|---|---|---|---|---|---|")
    for step, (loss, rows) in enumerate(zip(one["losses"], one["rows"])):
        other = several[0]["losses"][step]
        shares = [found["rows"][step] for found in several]
        is_once = sorted(row for share in shares for row in share) == sorted(rows)
        print(
            f"| {step + 1} | {loss:.8f} | {other:.8f} | {other - loss:+.1e} | {len(rows)} "
            f"| {' + '.join(str(len(share)) for share in shares)} | {'yes' if is_once else 'NO'} |"
        )


def compare_speed(folder: Path, options: argparse.Namespace) -> None:
    """Print the samples/s of one process and of several."""
    cases = [(1, 1), (1, options.threads), (options.processes, options.threads)]
    rates = []
    for ranks, threads in cases:
        found = run(ranks, folder, threads, None, options)
        rows = sum(len(step) for rank in found for step in rank["rows"])
        rates.append(rows / max(rank["seconds"] for rank in found))
    print(
        f"| {options.max_len} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[2]:,.0f} "
        f"| {rates[2] / rates[0]:.2f} | {rates[2] / rates[1]:.2f} | {found[0]['waiting']:.0%} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="medium")
    parser.add_argument("--max_len", type=int, nargs="+", default=[100, 150, 500])
    parser.add_argument("--batch_rows", type=int, default=257)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="of all processes together")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    lengths = options.max_len
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data.make(folder, ROWS, 500)
        data.train_to_h5(folder, options.threads)
        data.feature_map(folder, options.threads)
        options.max_len = lengths[0]
        compare_losses(folder, options)
        all_of = f"{options.processes} processes, {options.threads} threads"
        print(f"\n| max_len | 1 process, 1 thread, samples/s | 1, {options.threads} threads "
              f"| {all_of} | to 1 thread | to {options.threads} | waiting |")  # fmt: skip
        print("|---|---|---|---|---|---|---|")
        for options.max_len in lengths:
            compare_speed(folder, options)


if __name__ == "__main__":
    main()
