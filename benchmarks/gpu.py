"""All that only a GPU can tell, in one command of less than 8 minutes.

    python benchmarks/gpu.py                       # on any CUDA machine
    python benchmarks/gpu.py --device cpu --tiny   # the same on a CPU, small: does it run at all?

Makes simulated data of mean length 500 in a temporary folder, then measures section by section,
each in a process of its own with a limit of time. A row is printed and written to `--out` as soon
as it is known; a section that fails or takes too long leaves a row that says so, the others go on,
and the exit status is 1. What each section compares stands in its docstring.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import data
import memory
import ranks
import torch
from cards import (
    driver,
    dtype_of,
    free_memory,
    limited,
    matmul_peak,
    name_of,
    peak_of,
)
from gpu_setting import Setting
from sections import FAILED, Row, Section, run, start

import model
from feseq.common import tensors
from feseq.common.errors import first_line
from feseq.config.catalog import model_settings
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from feseq.model import FESeq, attention
from feseq.model.device import Machine
from feseq.train.memory import full_rows
from feseq.train.run import TrainingRun, train_model
from feseq.train.step import Stepper

COLUMNS = ("section", "case", "ours", "beside it", "ratio", "note")
SMALL_CARDS_GIB = (14, 8)
CPU_NEEDS = "needs a GPU"


def card(setting: Setting) -> Iterator[Row]:
    """The machine: card, driver, PyTorch, and the peak that a product of matrices reaches."""
    machine = setting.machine()
    yield "card", "name", name_of(machine), "", "", f"{os.cpu_count()} CPU cores"
    if machine.device.type == "cuda":
        found = torch.cuda.get_device_properties(machine.device)
        about = f"compute capability {found.major}.{found.minor}, {torch.cuda.device_count()} cards"
        yield "card", "memory, GiB", f"{found.total_memory / 2**30:.1f}", "", "", about
    yield "card", "driver", driver(), "", "", f"CUDA {torch.version.cuda}"
    yield "card", "PyTorch", torch.__version__, "", "", f"Python {platform.python_version()}"
    measured, sheet = matmul_peak(machine, setting.seconds), peak_of(name_of(machine))
    share = f"{measured / sheet:.0%}" if sheet else ""
    note = dtype_of(machine)
    yield "card", "TFLOP/s of products, by data sheet", f"{measured:.2f}", sheet or "", share, note


def speed_full(setting: Setting) -> Iterator[Row]:
    """Samples/s beside the plain network and its share of the peak; batches/s beside steps/s."""
    return speed(setting, "full")


def speed_medium(setting: Setting) -> Iterator[Row]:
    """The same of medium settings."""
    return speed(setting, "medium")


def speed_toy(setting: Setting) -> Iterator[Row]:
    """The same of toy settings."""
    return speed(setting, "toy")


def speed(setting: Setting, size: str) -> Iterator[Row]:
    """A process for each size: PyTorch compiles a layer for a few widths only."""
    machine = yield from working(setting, size)
    peak = peak_of(name_of(machine)) if machine.precision != torch.float32 else None
    peak = peak or matmul_peak(machine, setting.seconds)
    for max_len in setting.lengths:
        case, name = setting.case(size, max_len, machine), f"{size}, max_len {max_len}"
        batches = setting.batches(case, size, 2)
        slow = len(batches[0]) / model.samples(case.train(), batches[:1], machine, 0.0)
        # A slow card measures fewer batches; the plain network takes several times as long.
        batches = setting.batches(case, size, min(8, max(2, int(1 / slow))))
        operations = memory.Operations(case.config).of(batches)
        rows = sum(map(len, batches))
        for kind, passes in (("train", 3), ("predict", 1)):
            rate = model.samples(getattr(case, kind)(), batches, machine, setting.seconds)
            used = rate * operations * passes / 3 / rows / 1e12 / peak
            plain, most = model.plain_samples(case, kind, batches, setting.seconds)
            note = f"{used:.0%} of the peak"
            note += "" if most == len(batches[0]) else f"; plain: batches of {most}"
            compared = f"{plain:,.0f}", f"{rate / plain:.1f}" if plain else ""
            yield f"{kind}, samples/s", name, f"{rate:,.0f}", *compared, note
            if kind == "train":
                made = model.source_samples(case, setting.batch_rows(size))
                compared = f"{rate:,.0f}", f"{made / rate:.1f}"
                yield "source, samples/s", name, f"{made:,.0f}", *compared, "beside training"


def working(setting: Setting, size: str) -> Generator[Row, None, Machine]:
    """The default way to compute or, where that fails, the next simpler one."""
    ways: dict[str, Callable[[], Machine]] = {
        "compiled": lambda: setting.machine(compiled=True),
        "not compiled": setting.machine,
        "attention by length": lambda: by_length(setting.machine()),
    }
    for name, way in ways.items():
        machine = way()
        case = setting.case(size, setting.lengths[-1], machine)
        try:
            for batch in setting.batches(case, size, 1):
                case.train()(batch)
                case.predict()(batch)
            return machine
        except Exception as error:
            traceback.print_exc()
            yield f"{size}, {name}", FAILED, first_line(error), "", "", type(error).__name__
    raise RuntimeError("no way to compute works")


def by_length(machine: Machine) -> Machine:
    """The same, with the attention of an older card in this process."""
    attention.takes_packed = lambda qkv: False
    return machine


def fits(setting: Setting) -> Iterator[Row]:
    """The account of memory beside the measured peak of a step of full-length rows."""
    for precision in ("auto", "float32"):
        machine = setting.machine(precision)
        for max_len in setting.lengths:
            config = setting.config("full", max_len)
            needed = memory.needed(config, machine)
            rows = min(setting.batch_rows("full"), needed.rows_in(free_memory(machine)))
            said = needed.step(rows) / 2**30
            note = dtype_of(machine)
            measured, ratio = CPU_NEEDS, ""
            if machine.device.type == "cuda":
                peak = memory.measured_peak(config, machine, rows)
                measured, ratio = f"{peak:.2f}", f"{said / peak:.2f}"
            yield (
                "memory, GiB",
                f"full, max_len {max_len}, {rows} rows",
                f"{said:.2f}",
                measured,
                ratio,
                note,
            )


def waits(setting: Setting) -> Iterator[Row]:
    """Times that the host waits for the GPU in ten steps, as CUDA's own debug mode counts them."""
    machine = setting.machine()
    case = setting.case("full", setting.lengths[-1], machine)
    step, batches = case.train(), setting.batches(case, "full", 3)
    for batch in batches:
        step(batch)
    found, where = CPU_NEEDS, ""
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


def small_cards(setting: Setting) -> Iterator[Row]:
    """Steps of full settings under less memory: micro-batches by the account, and by halving."""
    machine = setting.machine()
    max_len, rows = setting.lengths[0], setting.batch_rows("full")
    config, batch = setting.config("full", max_len), None
    for gib in SMALL_CARDS_GIB:
        needed = memory.needed(config, machine)
        said = min(rows, needed.rows_in(gib << 30))
        batch = batch or full_rows(config, memory.SIZES, rows)
        for name, micro_rows in (("by the account", said), ("halved", None)):
            with limited(machine, gib) as is_limited:
                network = FESeq(config, memory.SIZES).to(machine.device).train()
                optimizer = torch.optim.Adam(network.parameters(), fused=True)
                stepper = Stepper(network, optimizer, machine, micro_rows=micro_rows)
                stepper.take(batch)
                started = time.perf_counter()
                stepper.take(batch)
                stepper.mean_loss()
                rate = rows / (time.perf_counter() - started)
                peak, taken = machine.peak_memory() / 2**30, stepper.micro_rows or rows
                del network, optimizer, stepper
            case = f"full, max_len {max_len}, {gib} GiB, {name}"
            note = f"peak {peak:.2f} GiB" if is_limited else "no limit"
            of = f"{taken} of {rows} rows"
            yield "small card, samples/s", case, f"{rate:,.0f}", of, "", note


def killed(setting: Setting) -> Iterator[Row]:
    """A training that is killed and started again, beside an undisturbed one: equal weights."""
    whole, cut = setting.folder / "whole", setting.folder / "cut"
    start(train_toy, setting, whole).join()
    first = start(train_toy, setting, cut)
    state = cut / "training_state/state.safetensors"
    while not state.exists() and first.is_alive():
        time.sleep(0.01)
    first.kill()
    first.join()
    if first.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the training ended with exit status {first.exitcode}")
    if not state.exists():
        yield "killed and resumed", "toy", "ended before the kill", "", "", ""
        return
    step = tensors.load(state)["state"]["stepper"]["step"]
    start(train_toy, setting, cut).join()
    weights, others = (tensors.load(out / "model.safetensors")["weights"] for out in (whole, cut))
    unequal = [name for name in weights if not torch.equal(weights[name], others[name])]
    equal = f"{len(unequal)} of {len(weights)} differ" if unequal else "equal"
    yield "killed and resumed", f"toy, from step {step}", equal, "equal", "", ""


def train_toy(setting: Setting, out: Path) -> None:
    """The toy model on the benchmark's rows, saved after each step."""
    settings = model_settings(data.CONFIG, "toy", "len100")
    config = TrainConfig(
        **settings["train_config"] | {"epochs": 2, "batch_size": 64 if setting.tiny else 512}
    )
    network = ModelConfig(**settings["model_config"] | {"max_len": setting.lengths[-1]})
    files = (setting.folder / name for name in ("train.h5", "valid.h5", "feature_map.json"))
    outputs = {
        "model": out / "model.safetensors",
        "history": out / "history.csv",
        "training": out / "training.json",
    }
    runtime = Runtime(device=setting.options.device, verbosity=0)
    run = TrainingRun(*files, network, config)
    train_model(run, outputs, runtime=runtime, threads=setting.options.threads)


def precisions(setting: Setting) -> Iterator[Row]:
    """Mean losses of the same steps in half and in single precision."""
    steps, max_len = (8, 8) if setting.tiny else (200, 100)
    half = "bfloat16" if setting.options.device == "cpu" else dtype_of(setting.machine())
    # Making a machine changes how all products are computed: each is made when the other is done.
    found = [
        setting.losses(setting.machine(precision), max_len, steps)
        for precision in (half, "float32")
    ]
    for first in range(0, steps, steps // 4):
        a, b = (sum(curve[first : first + steps // 4]) / (steps // 4) for curve in found)
        case = f"full, max_len {max_len}, steps {first + 1} to {first + steps // 4}"
        yield "loss, half and single", case, f"{a:.5f}", f"{b:.5f}", f"{a - b:+.5f}", half


def switches(setting: Setting) -> Iterator[Row]:
    """Samples/s with a switch on and off, and whether two runs of some steps are equal."""
    plain, max_len = setting.machine(), setting.lengths[0]

    def row(name: str, machine: Machine = plain) -> Row:
        case = setting.case("full", max_len, machine)
        batches = setting.batches(case, "full", 4)
        rate = model.samples(case.train(), batches, machine, setting.seconds / 2)
        one, other = (setting.losses(machine, setting.lengths[-1], 10) for _ in range(2))
        note = f"two runs are {'equal' if one == other else 'NOT equal'}"
        return "switch, samples/s", f"full, max_len {max_len}, {name}", f"{rate:,.0f}", "", "", note

    yield row("deterministic, not compiled")
    torch.use_deterministic_algorithms(False)
    yield row("not deterministic")
    torch.use_deterministic_algorithms(plain.device.type == "cuda")
    takes_packed = attention.takes_packed
    yield row("attention by length, as on a T4", by_length(plain))
    attention.takes_packed = takes_packed
    compiled = setting.machine(compiled=True)
    yield row("compiled" if compiled.compile else "not compiled, for lack of a GPU", compiled)


def processes(setting: Setting) -> Iterator[Row]:
    """The losses of one process and of two, by NCCL on two cards, by Gloo on a CPU."""
    machine = setting.options.device
    if machine != "cpu" and torch.cuda.device_count() < 2:
        yield "two processes", "NCCL", "not run", "", "", f"{torch.cuda.device_count()} card"
        return
    options = argparse.Namespace(
        max_len=setting.lengths[-1],
        size="toy" if setting.tiny else "full",
        device=machine,
        batch_rows=64 if setting.tiny else 2048,
        steps=3,
    )
    runs = [ranks.run(n, setting.folder, setting.options.threads, 0.0, options) for n in (1, 2)]
    for step, (one, two) in enumerate(zip(*(found[0]["losses"] for found in runs)), start=1):
        yield (
            "two processes",
            f"loss of step {step}",
            f"{two:.8f}",
            f"{one:.8f}",
            f"{two - one:+.1e}",
            machine,
        )


def make_data(setting: Setting) -> Iterator[Row]:
    """The simulated files."""
    started = time.perf_counter()
    data.make(setting.folder, setting.rows, setting.mean_length)
    data.train_to_h5(setting.folder, setting.options.threads)
    data.feature_map(setting.folder, setting.options.threads)
    seconds = f"{time.perf_counter() - started:.1f}"
    yield (
        "data, s",
        f"{setting.rows:,} rows, mean length {setting.mean_length}",
        seconds,
        "",
        "",
        "",
    )


# In order of what one would miss most, with the most seconds that each may take of SECONDS.
SECONDS = 470
SECTIONS: dict[Section, int] = {
    card: 60,
    make_data: 90,
    speed_full: 150,
    waits: 40,
    fits: 60,
    small_cards: 60,
    killed: 90,
    speed_medium: 90,
    speed_toy: 90,
    precisions: 60,
    switches: 60,
    processes: 60,
}
WITHOUT_DATA = {card, make_data, fits, small_cards}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--threads", type=int, help="as many as there are cores; 1 with --tiny")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of all sections; more for a busy machine"
    )
    names = [section.__name__ for section in SECTIONS]
    parser.add_argument("--only", nargs="+", choices=names, help="beside the data", metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("gpu.md"))
    options = parser.parse_args()
    options.threads = options.threads or (1 if options.tiny else os.cpu_count())
    ends, failed, has_data = time.monotonic() + options.seconds, False, True
    with tempfile.TemporaryDirectory() as temporary, open(options.out, "w") as table:

        def write(row: Sequence[object]) -> None:
            line = f"| {' | '.join(str(cell) for cell in row)} |"
            print(line, flush=True)
            print(line, file=table, flush=True)

        write(COLUMNS)
        write(["---"] * len(COLUMNS))
        setting = Setting(Path(temporary), options)
        for section in SECTIONS:
            if options.only and section.__name__ not in (*options.only, "make_data"):
                continue
            limit = SECTIONS[section] * options.seconds / SECONDS
            rows: Iterable[Row] = run(section, setting, min(limit, ends - time.monotonic()))
            if not has_data and section not in WITHOUT_DATA:
                rows = [(section.__name__, FAILED, "no data were made", "", "", "")]
            for row in rows:
                write(row)
                failed |= row[1] == FAILED
                has_data &= not (section is make_data and failed)
            if failed and section is card:
                # Without a device, nothing else can run.
                break
    sys.exit(failed)


if __name__ == "__main__":
    main()
