"""Time, memory and bytes of every rule of the data path, in the workflow as a user runs it.

    python benchmarks/rehearsal.py --rows 10704179 --test_rows 1527298 --cores 1 2

Simulates raw files (in `--folder`, if given; existing files are kept) and runs Snakemake from them
to the data page, rule by rule, once for each number of cores. For each rule, it prints the number
of jobs, the time from Snakemake's start to its end, the CPU time of all processes, the memory of
the largest process, and the bytes that the jobs wrote. Conversions are compared with pyarrow, which
only decodes the same columns with as many threads.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import runs
import yaml

from tossctr.config.columns import Columns
from tossctr.datasets.conversion import BATCH_ROWS
from tossctr.raw.parts import part_name, read_part_list
from tossctr.raw.reading import RawTable


@dataclass(frozen=True)
class Stage:
    """A rule and its files; {part} in a path stands for each part of a listing.

    A conversion reads the raw `split`, including the column `extra`.
    """

    rule: str
    outputs: tuple[str, ...]
    listing: str = ""
    split: str = ""
    extra: str = ""


STAGES = (
    Stage("sample", ("data/samples/full.json", "data/samples/full.parquet")),
    Stage(
        "convert_train",
        ("data/h5/full/train/part{part}.h5", "data/h5/full/valid/part{part}.h5"),
        "data/samples/full.json",
        "train",
        "clicked",
    ),
    Stage("fit_feature_map", ("data/h5/full/feature_map.json",)),
    Stage("list_parts", ("data/h5/test/parts.json",)),
    Stage(
        "convert_test",
        ("data/h5/test/part{part}.h5",),
        "data/h5/test/parts.json",
        "test",
        "ID",
    ),
    Stage("describe", ("results/full/data.json",)),
)


def run(stage: Stage, folder: Path, cores: int) -> str:
    """Run the rule in a folder; returns its line of the table."""
    parts = [""]
    if stage.listing:
        listing = read_part_list(folder / stage.listing)
        parts = [part_name(number) for number in range(len(listing.parts))]
    outputs = [path.format(part=part) for part in parts for path in stage.outputs]
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--directory", str(folder)]
    command += ["--snakefile", str(runs.REPOSITORY / "Snakefile")]
    command += ["--configfile", str(folder / "config.yaml"), "--", *outputs]
    started = time.perf_counter()
    log = folder / "snakemake.log"
    with open(log, "w") as file:
        _, status, used = os.wait4(subprocess.Popen(command, stderr=file).pid, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(log.read_text())
    written = sum((folder / path).stat().st_size for path in outputs)
    ratio = against(stage, folder, cores, seconds) if stage.split else ""
    cpu_seconds, peak_mib = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return (
        f"| {cores} | {stage.rule} | {len(parts)} | {seconds:,.0f} | {cpu_seconds:,.0f} "
        f"| {peak_mib:,.0f} | {written / 1e9:,.2f} | {ratio} |"
    )


def against(stage: Stage, folder: Path, cores: int, seconds: float) -> str:
    """The rule's time as a multiple of pyarrow's for decoding the same columns."""
    raw = yaml.safe_load((folder / "config.yaml").read_text())["table"]["raw"]
    pa.set_cpu_count(cores)
    names = [*Columns.from_config(runs.simulated()["columns"]).features, stage.extra]
    start = time.perf_counter()
    for _ in RawTable(raw[stage.split]).stream(names, BATCH_ROWS):
        pass
    floor = time.perf_counter() - start
    return f"{seconds / floor:.1f} x {floor:,.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--test_rows", type=int, default=300_000)
    parser.add_argument("--mean_length", type=float, default=500)
    parser.add_argument("--part_rows", type=int, default=500_000)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", help="names of rules (default: all)")
    parser.add_argument("--folder", type=Path, help="folder of the raw files (default: temporary)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        raw = options.folder or Path(temporary)
        runs.simulate(raw, options.rows, options.test_rows, options.mean_length)
        files = {name: str(raw / f"{name}.parquet") for name in ("train", "test")}
        table = runs.simulated()
        table["raw"] |= {"source": "files", **files}
        config = {"table": table, "parts": {"rows": options.part_rows}}
        print("| cores | rule | jobs | s | CPU s | peak MiB | GB | against decoding |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for cores in options.cores:
            folder = Path(temporary, f"{cores}")
            folder.mkdir()
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            for stage in STAGES:
                if not options.only or stage.rule in options.only:
                    print(run(stage, folder, cores), flush=True)
            # Deleted, so that the disk need not hold two such folders.
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
