"""Speed of training and prediction, compared with a plain FESeq on the same machine and rows.

    python benchmarks/model.py --max_len 100 150 500 --size medium

Makes simulated data of mean length 500 in a temporary folder. Each measurement runs in its own
process under the same conditions: our network with the workflow's stepper and batch source, the
plain network on the same batches, padded to max_len. The first step is a warm-up and is not
counted. `--beside` is another checkout of the workflow, whose network is measured too.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial
from itertools import chain, islice
from pathlib import Path

import runs
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from tossctr.batches.batch import Batch
from tossctr.common.machine import keep_freed_memory
from tossctr.config.declared import Runtime
from tossctr.features.feature_map import FeatureMap
from tossctr.models.base import block_settings
from tossctr.models.feseq.network.device import Machine, set_up_machine
from tossctr.models.feseq.network.positions import PaddedRows
from tossctr.models.feseq.network_file import (
    batch_source,
    build_model,
    inference_source,
    to_machine,
)
from tossctr.models.feseq.network_settings import ModelConfig, TrainConfig
from tossctr.models.feseq.training_step import Stepper

ROWS = 20_000
TRAIN = TrainConfig(batch_size=1)  # for a step's seed; batches are given
# Options of a single measurement.
SHARED = ("size", "batch_rows", "steps", "threads", "device", "precision", "clock")


class Case:
    """One size and max_len: our network, the plain network with the same weights, and the rows."""

    def __init__(self, folder: Path, size: str, max_len: int, machine: Machine) -> None:
        self.h5 = folder / "train.h5"
        self.fields = FeatureMap.read(folder / "feature_map.json")
        self.machine = machine
        config = ModelConfig(
            max_len=max_len,
            **block_settings(yaml.safe_load(runs.CONFIG.read_text()), size, "model"),
        )
        self.config = config
        torch.manual_seed(0)
        network = build_model(config, self.fields)
        self.plain = deepcopy(network).to(machine.device)
        for layer in self.plain.refiner.layers:
            layer.forward = partial(_of_all_positions, layer.forward)
        self.network = to_machine(network, machine)

    def batches(self, batch_rows: int) -> Iterable[Batch]:
        """Shuffled batches, grouped by length."""
        source = batch_source(self.h5, self.fields, self.config, batch_rows)
        return source.shuffled(seed=1, epoch=1)

    def train(self) -> Callable[[Batch], object]:
        """A training step of ours."""
        optimizer = torch.optim.Adam(self.network.parameters(), fused=True)
        return Stepper(self.network.train(), optimizer, self.machine, TRAIN).take_step

    def train_plain(self) -> Callable[[Batch], object]:
        """A plain training step."""
        plain = self.plain.train()
        optimizer = torch.optim.Adam(plain.parameters())

        def step(batch: Batch) -> float:
            batch = batch.to(self.machine.device)
            loss = F.binary_cross_entropy_with_logits(
                plain(PaddedRows.from_batch(batch, self.config.max_len)), batch.label_B
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 10)
            optimizer.step()
            return loss.item()

        return step

    def predict(self) -> Callable[[Batch], object]:
        """A forward pass of ours."""
        network = self.network.eval()

        def step(batch: Batch) -> torch.Tensor:
            with torch.inference_mode(), self.machine.autocast():
                return network(batch.to(self.machine.device)).float().cpu()

        return step

    def predict_plain(self) -> Callable[[Batch], object]:
        """A plain forward pass."""
        plain = self.plain.eval()

        def step(batch: Batch) -> torch.Tensor:
            with torch.no_grad():
                padded = PaddedRows.from_batch(batch.to(self.machine.device), self.config.max_len)
                return plain(padded).cpu()

        return step


def _of_all_positions(
    forward: Callable[..., Tensor], x_ND: Tensor, rows: PaddedRows, only_targets: bool = False
) -> Tensor:
    return rows.targets(forward(x_ND, rows)) if only_targets else forward(x_ND, rows)


def synchronize(machine: Machine) -> None:
    """Wait for the GPU."""
    if machine.device.type == "cuda":
        torch.cuda.synchronize()


def samples(
    work: Callable[[Batch], object], batches: Sequence[Batch], machine: Machine, seconds: float
) -> float:
    """Samples/s over whole rounds of the batches that take at least `seconds`."""
    for batch in batches[:2]:
        work(batch)
    synchronize(machine)
    started, rows = time.perf_counter(), 0
    while not rows or time.perf_counter() - started < seconds:
        for batch in batches:
            work(batch)
        synchronize(machine)
        rows += sum(map(len, batches))
    return rows / (time.perf_counter() - started)


def plain_samples(
    case: Case, kind: str, batches: Sequence[Batch], seconds: float
) -> tuple[float, int]:
    """Samples/s of the plain network, and the batch size that fits; 0 if not even one row fits."""
    work = getattr(case, f"{kind}_plain")()
    most = len(batches[0])
    while most:
        try:
            starts = [(b, i) for b in batches for i in range(0, len(b), most)]
            parts = [b.slice(i, min(i + most, len(b))) for b, i in starts]
            return samples(work, parts, case.machine, seconds), most
        except torch.cuda.OutOfMemoryError:
            most //= 2
        torch.cuda.empty_cache()
    return 0.0, 0


def source_samples(case: Case, batch_rows: int) -> float:
    """Rows/s that the source makes and pins without any training step."""
    batches = iter(case.machine.prefetch(chain(case.batches(batch_rows), case.batches(batch_rows))))
    next(batches)
    started = time.perf_counter()
    return sum(map(len, batches)) / (time.perf_counter() - started)


def measure(kind: str, options: argparse.Namespace) -> None:
    """In its own process: print samples/s and peak memory as JSON."""
    keep_freed_memory()
    runtime = Runtime(device=options.device, precision=options.precision)
    machine = set_up_machine(runtime, options.threads)
    case = Case(options.folder, options.size, options.max_len[0], machine)
    step = getattr(case, kind)()
    if kind == "predict":
        source = inference_source(case.h5, case.fields, case.config, machine)
        # A whole window, which has both its longest and its shortest rows.
        batches = list(source.in_order(0, options.batch_rows * (options.steps + 1)))
    else:
        batches = list(islice(case.batches(options.batch_rows), options.steps + 1))
    clock = time.process_time if options.clock == "processor" else time.perf_counter
    step(batches[-1])
    timed = batches if kind == "predict" else batches[:-1]
    started = clock()
    for batch in timed:
        step(batch)
    synchronize(machine)
    seconds = clock() - started
    if machine.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": sum(map(len, timed)) / seconds, "peak_mib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="medium")
    parser.add_argument("--max_len", type=int, nargs="+", default=[100, 150, 500])
    parser.add_argument("--batch_rows", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--folder", type=Path, help="data of an earlier run, to reuse")
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="processor: for busy cores; use with --threads 1",
    )
    parser.add_argument("--beside", type=Path, help="another checkout of this repository")
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        measure(options.kind, options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "feature_map.json").exists():
            folder.mkdir(exist_ok=True)
            runs.convert(folder, ROWS, 500)
        sides = {"ours": (Path(__file__), ""), "plain": (Path(__file__), "_plain")}
        if options.beside:
            sides["beside"] = (options.beside / "benchmarks" / "model.py", "")
        print("| max_len | what |" + "".join(f" {s}, samples/s | MiB |" for s in sides), end="")
        print(" to plain |" + (" to beside |" if "beside" in sides else ""))
        print("|---" * (3 * len(sides) + 1) + "|")
        for max_len in options.max_len:
            for kind in ("train", "predict"):
                found = [
                    _run(script, kind + suffix, folder, max_len, options)
                    for script, suffix in sides.values()
                ]
                cells = [f"{one['rate']:,.0f} | {one['peak_mib']:,.0f}" for one in found]
                cells += [f"{found[0]['rate'] / other['rate']:.2f}" for other in found[1:]]
                print(f"| {max_len} | {kind} | {' | '.join(cells)} |", flush=True)


def _run(
    script: Path, kind: str, folder: Path, max_len: int, options: argparse.Namespace
) -> dict[str, float]:
    """One measurement by a checkout's script, with the options of this run."""
    given = {name: getattr(options, name) for name in SHARED}
    given |= {"folder": folder, "max_len": max_len, "kind": kind}
    words = [f"--{name}={value}" for name, value in given.items()]
    done = subprocess.run(
        [sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
