"""Measurements that need a GPU, in one command of less than 8 minutes.

    python benchmarks/gpu.py                       # on any CUDA machine
    python benchmarks/gpu.py --device cpu --tiny   # the same on a CPU, small: does it run at all?

Makes simulated data of mean length 500 in a temporary folder, then measures section by section,
each in its own process with a time limit. Rows are printed at once and written to `--out`. If a
section fails or takes too long, a row says so, the other sections go on, and the exit status is 1.
Each section's docstring says what it compares.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import model
import runs
import torch
import yaml

from tossctr.batches.batch import Batch
from tossctr.common import tensors
from tossctr.common.machine import keep_freed_memory
from tossctr.config.declared import Runtime
from tossctr.models.base import block_settings
from tossctr.models.feseq.micro_batches import StepMemory, largest_batch
from tossctr.models.feseq.network import FESeq
from tossctr.models.feseq.network.device import Machine, set_up_machine
from tossctr.models.feseq.network.input_layer import input_sizes
from tossctr.models.feseq.training_step import Stepper

# Section, case, our value, the value compared with, ratio, note.
Row = tuple[object, object, object, object, object, object]
HEAD = "| section | case | ours | beside it | ratio | note |\n|---|---|---|---|---|---|"
SMALL_CARDS_GIB = (14, 8)
NEEDS_GPU = "needs a GPU"
# TFLOP/s of dense half-precision products with float32 sums, from the data sheets.
PEAKS = {
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "A100": 312,
    "A10G": 70,
    "A10": 125,
    "L40S": 362,
    "L4": 121,
    "T4": 65,
    "V100": 125,
    "RTX 3090": 71,
    "RTX 4090": 165,
}


class Setting:
    """Data, device and sizes."""

    def __init__(self, folder: Path, device: str, tiny: bool, threads: int) -> None:
        self.folder, self.device, self.tiny, self.threads = folder, device, tiny, threads
        self.lengths = (16,) if tiny else (500, 150, 100)
        self.rows, self.mean_length = (500, 20) if tiny else (20_000, 500)
        self.seconds = 0.05 if tiny else 2.0

    def machine(self, precision: str = "auto", compiled: bool = False) -> Machine:
        """This machine's device; `compiled` keeps the default choice of compiling, else none."""
        found = set_up_machine(Runtime(device=self.device, precision=precision), self.threads)
        return replace(found, compile=compiled and found.compile)

    def case(self, size: str, max_len: int, machine: Machine) -> model.Case:
        """The networks of a size: ours and the plain one."""
        return model.Case(self.folder, size, max_len, machine)

    def batch_rows(self, size: str) -> int:
        """The batch size of a size."""
        rows = block_settings(yaml.safe_load(runs.CONFIG.read_text()), size, "train")["batch_size"]
        return min(rows, 64) if self.tiny else rows

    def batches(self, case: model.Case, size: str, count: int = 8) -> list[Batch]:
        """Training batches, prefetched as in the training loop."""
        return list(case.machine.prefetch(islice(case.batches(self.batch_rows(size)), count)))


def card(setting: Setting) -> Iterator[Row]:
    """The machine: card, driver, PyTorch, and the peak rate of a matrix product."""
    machine = setting.machine()
    name = platform.processor() or "CPU"
    if machine.device.type == "cuda":
        name = torch.cuda.get_device_name(machine.device)
        found = torch.cuda.get_device_properties(machine.device)
        note = f"compute capability {found.major}.{found.minor}, {torch.cuda.device_count()} cards"
        yield "card", "memory, GiB", f"{found.total_memory / 2**30:.1f}", "", "", note
    yield "card", "name", name, "", "", f"{os.cpu_count()} CPU cores"
    yield "card", "driver", driver(), "", "", f"CUDA {torch.version.cuda}"
    yield "card", "PyTorch", torch.__version__, "", "", f"Python {platform.python_version()}"
    measured, sheet = matmul_peak(machine, setting.seconds), peak_of(name)
    share = f"{measured / sheet:.0%}" if sheet else ""
    case = f"TFLOP/s of {dtype_of(machine)} products, by data sheet"
    yield "card", case, f"{measured:.2f}", sheet or "", share, ""


def speed(setting: Setting, size: str) -> Iterator[Row]:
    """Samples/s of our network and the plain one; rows/s of the batch source and of training."""
    machine = setting.machine(compiled=True)
    for max_len in setting.lengths:
        case, name = setting.case(size, max_len, machine), f"{size}, max_len {max_len}"
        batches = setting.batches(case, size, 4)
        for kind in ("train", "predict"):
            rate = model.samples(getattr(case, kind)(), batches, machine, setting.seconds)
            plain, most = model.plain_samples(case, kind, batches, setting.seconds)
            ratio = f"{rate / plain:.1f}" if plain else ""
            note = "" if most == len(batches[0]) else f"plain: batches of {most}"
            yield f"{kind}, samples/s", name, f"{rate:,.0f}", f"{plain:,.0f}", ratio, note
            if kind == "train":
                made = model.source_samples(case, setting.batch_rows(size))
                row = f"{made:,.0f}", f"{rate:,.0f}", f"{made / rate:.1f}", "beside training"
                yield "source, samples/s", name, *row


def waits(setting: Setting) -> Iterator[Row]:
    """How often the host waits for the GPU in ten steps, counted by CUDA's sync debug mode."""
    machine = setting.machine()
    case = setting.case("full", setting.lengths[-1], machine)
    step, batches = case.train(), setting.batches(case, "full", 3)
    for batch in batches:
        step(batch)
    found, where = NEEDS_GPU, ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if machine.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        for batch in islice(chain.from_iterable([batches] * 10), 10):
            step(batch)
    if machine.device.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")
        seen = [warning for warning in caught if "synchronizing" in str(warning.message)]
        found = str(len(seen))
        where = "; ".join({f"{Path(w.filename).name}:{w.lineno}" for w in seen})
    yield "waits", f"10 steps, full, max_len {setting.lengths[-1]}", found, 0, "", where


def memory(setting: Setting) -> Iterator[Row]:
    """Memory of a step: estimated from autograd's saved tensors, and the peak on the card."""
    for precision in ("auto", "float32"):
        machine = setting.machine(precision)
        for max_len in setting.lengths:
            case = setting.case("full", max_len, machine)
            sizes = input_sizes(case.config, case.fields)
            network = FESeq(case.config, sizes)
            needed = StepMemory.measure(network, case.config, sizes, machine.precision)
            free = machine.memory()
            if machine.device.type == "cuda":
                free = torch.cuda.mem_get_info()[0]
            rows = min(setting.batch_rows("full"), needed.rows_that_fit(free))
            said, measured, ratio = needed.bytes_needed(rows) / 2**30, NEEDS_GPU, ""
            if machine.device.type == "cuda":
                peak = measured_peak(network, largest_batch(case.config, sizes, rows), machine)
                measured, ratio = f"{peak:.2f}", f"{said / peak:.2f}"
            name = f"full, max_len {max_len}, {rows} rows"
            yield "memory, GiB", name, f"{said:.2f}", measured, ratio, dtype_of(machine)


def small_cards(setting: Setting) -> Iterator[Row]:
    """Steps of full settings in less memory: micro-batches by the estimate, and by halving."""
    machine, rows = setting.machine(), setting.batch_rows("full")
    case = setting.case("full", setting.lengths[0], machine)
    sizes = input_sizes(case.config, case.fields)
    batch = largest_batch(case.config, sizes, rows)
    network = FESeq(case.config, sizes)
    needed = StepMemory.measure(network, case.config, sizes, machine.precision)
    for gib in SMALL_CARDS_GIB:
        fitting = min(rows, needed.rows_that_fit(gib << 30))
        for name, micro_rows in (("as measured", fitting), ("halved", rows)):
            is_limited = machine.device.type == "cuda" and gib << 30 < machine.memory()
            if is_limited:
                torch.cuda.empty_cache()
                torch.cuda.set_per_process_memory_fraction((gib << 30) / machine.memory())
            stepper = stepper_of(network, machine, micro_rows)
            stepper.take_step(batch)
            started = time.perf_counter()
            stepper.take_step(batch)
            stepper.mean_loss()
            rate = rows / (time.perf_counter() - started)
            of = f"{stepper.micro_rows or rows} of {rows} rows"
            del stepper
            if is_limited:
                torch.cuda.set_per_process_memory_fraction(1.0)
            label = f"full, max_len {setting.lengths[0]}, {gib} GiB, {name}"
            note = "" if is_limited else "no limit"
            yield "small card, samples/s", label, f"{rate:,.0f}", of, "", note


def precisions(setting: Setting) -> Iterator[Row]:
    """Mean losses of the same steps in half and in single precision."""
    steps, max_len = (8, 8) if setting.tiny else (200, 100)
    half = "bfloat16" if setting.device == "cpu" else dtype_of(setting.machine())
    # Making a machine changes how all products are computed, so the two runs do not overlap.
    found = [losses(setting, setting.machine(name), max_len, steps) for name in (half, "float32")]
    quarter = steps // 4
    for first in range(0, steps, quarter):
        a, b = (sum(curve[first : first + quarter]) / quarter for curve in found)
        case = f"full, max_len {max_len}, steps {first + 1} to {first + quarter}"
        yield "loss, half and single", case, f"{a:.5f}", f"{b:.5f}", f"{a - b:+.5f}", half


def killed(setting: Setting) -> Iterator[Row]:
    """A workflow training that is killed and resumed, compared with an uninterrupted one."""
    config = {
        "table": runs.simulated(train_rows=2_000 if setting.tiny else 20_000),
        "sizes": {"toy": {"rows": None, "train": {"evaluations_per_epoch": 20}}},
        "runtime": {"device": setting.device},
    }
    (setting.folder / "killed.json").write_text(json.dumps(config))
    found, stopped = {}, ""
    for name in ("whole", "cut"):
        folder = setting.folder / name
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(folder)]
        command += ["--snakefile", str(runs.REPOSITORY / "Snakefile"), "--configfile"]
        command += [str(setting.folder / "killed.json"), "--", "results/toy/len100/training.json"]
        state = folder / "results/toy/len100/training_state/state.safetensors"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if name == "cut":
            first = subprocess.Popen(command, start_new_session=True, **quiet)
            while not state.exists() and first.poll() is None:
                time.sleep(0.01)
            if first.poll() is None:
                os.killpg(first.pid, signal.SIGKILL)
                first.wait()
                stopped = f"toy, from step {tensors.load(state)['state']['stepper']['step']}"
            subprocess.run([*command[:-2], "--unlock", *command[-2:]], check=False, **quiet)
        subprocess.run(command, check=True, **quiet)
        found[name] = tensors.load(folder / "results/toy/len100/model.safetensors")["weights"]
    unequal = [n for n, w in found["whole"].items() if not torch.equal(w, found["cut"][n])]
    equal = f"{len(unequal)} of {len(found['whole'])} differ" if unequal else "equal"
    yield "killed and resumed", stopped or "ended before the kill", equal, "equal", "", ""


def driver() -> str:
    """The NVIDIA driver's version."""
    if shutil.which("nvidia-smi") is None:
        return "none"
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.split("\n")[0] or "unknown"


def dtype_of(machine: Machine) -> str:
    """The type of a machine's products."""
    return str(machine.precision).removeprefix("torch.")


def peak_of(name: str) -> float | None:
    """TFLOP/s by the data sheet of a card of this name."""
    known = (peak for card, peak in PEAKS.items() if re.search(rf"\b{card}\b", name))
    return next(known, None)


def matmul_peak(machine: Machine, seconds: float) -> float:
    """TFLOP/s of large matrix products in the machine's precision."""
    width = 8192 if machine.device.type == "cuda" else 512
    a = torch.ones(width, width, dtype=machine.precision, device=machine.device)
    a @ a
    model.synchronize(machine)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds / 4:
        for _ in range(10):
            a @ a
        model.synchronize(machine)
        count += 10
    return 2 * width**3 * count / (time.perf_counter() - started) / 1e12


def stepper_of(network: FESeq, machine: Machine, micro_rows: int = sys.maxsize) -> Stepper:
    """The training steps of a network on the machine's device."""
    network = network.to(machine.device).train()
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    return Stepper(network, optimizer, machine, model.TRAIN, micro_rows=micro_rows)


def measured_peak(network: FESeq, batch: Batch, machine: Machine) -> float:
    """Peak GiB of the second of two steps on this machine's GPU."""
    stepper = stepper_of(network, machine)
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        stepper.take_step(batch)
    return torch.cuda.max_memory_allocated() / 2**30


def losses(setting: Setting, machine: Machine, max_len: int, steps: int) -> list[float]:
    """The loss of each step of a training of the full network from the same start."""
    case = setting.case("full", max_len, machine)
    stepper = stepper_of(case.network, machine)
    rows = min(512, setting.batch_rows("full"))
    found = []
    for batch in islice(chain.from_iterable(case.batches(rows) for _ in range(steps)), steps):
        stepper.take_step(batch)
        found.append(stepper.mean_loss())
    return found


# The most important sections first, each with its time limit within SECONDS.
SECONDS = 470
SECTIONS: dict[str, tuple[Callable[[Setting], Iterator[Row]], int]] = {
    "card": (card, 60),
    "speed_full": (partial(speed, size="full"), 150),
    "waits": (waits, 40),
    "memory": (memory, 60),
    "small_cards": (small_cards, 60),
    "speed_medium": (partial(speed, size="medium"), 90),
    "speed_toy": (partial(speed, size="toy"), 90),
    "precisions": (precisions, 60),
    # Last, since its workflow would keep running beside other sections after a timeout.
    "killed": (killed, 90),
}


def make_data(setting: Setting) -> None:
    """Make the simulated files that all sections read."""
    runs.convert(setting.folder, setting.rows, setting.mean_length)


def run_section(name: str, options: argparse.Namespace, folder: Path, seconds: float) -> list[str]:
    """The lines of a section, run in a process of its own; a failure is the last line."""
    command = [sys.executable, __file__, "--section", name, "--folder", str(folder)]
    command += ["--device", options.device, "--threads", str(options.threads)]
    command += ["--tiny"] if options.tiny else []
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=max(1, seconds), check=False
        )
        failed, printed = done.returncode, done.stdout
        why = f"exit status {failed}"
    except subprocess.TimeoutExpired as late:
        failed, why = 1, "out of time"
        printed = (late.stdout or b"").decode() if isinstance(late.stdout, bytes) else ""
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    return lines + ([f"| {name} | FAILED | {why} | | | |"] if failed else [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="small sizes, to test that it runs")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time limit of all sections")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=Path("gpu.md"))
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        keep_freed_memory()
        setting = Setting(options.folder, options.device, options.tiny, options.threads)
        for row in SECTIONS[options.section][0](setting):
            print(f"| {' | '.join(map(str, row))} |", flush=True)
        return
    ends, failed = time.monotonic() + options.seconds, False
    with tempfile.TemporaryDirectory() as temporary, open(options.out, "w") as table:
        make_data(Setting(Path(temporary), options.device, options.tiny, options.threads))
        print(HEAD, file=table)
        print(HEAD, flush=True)
        for name in options.only:
            limit = SECTIONS[name][1] * options.seconds / SECONDS
            seconds = min(limit, ends - time.monotonic())
            for line in run_section(name, options, Path(temporary), seconds):
                print(line, flush=True)
                print(line, file=table, flush=True)
                failed |= "| FAILED |" in line
    sys.exit(failed)


if __name__ == "__main__":
    main()
