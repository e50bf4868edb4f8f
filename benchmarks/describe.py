"""Time and memory of the data page as the tables grow.

    python benchmarks/describe.py --rows 1000000 10000000

Simulates `--base` train rows of all columns, and repeats them in the H5 files until they have as
many rows as asked for: nine tenths in train.h5, one tenth each in valid.h5 and test.h5. So every
row is read and counted like any other, while the shares of repeated rows mean nothing.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import data

from feseq.common.files import write_json
from feseq.common.memory import keep_freed_memory, peak_memory
from feseq.dataset.store import H5Table, H5Writer
from feseq.describe.checks import alarms_of
from feseq.describe.describe import describe
from feseq.report.data_page import FIGURES, write_data_page
from feseq.report.figures.data import plot_data


def repeat(h5: Path, longer: Path, rows: int) -> None:
    """Write a table of `rows` rows, those of `h5` again and again."""
    with H5Table(h5) as table:
        columns = (table.numeric_columns, table.categorical_columns, table.sequence_columns)
        with H5Writer(longer, *columns) as writer:
            while writer.rows < rows:
                writer.append(table.read(0, min(table.rows, rows - writer.rows)))
            words = {name: table.vocabulary(name) for name in table.categorical_columns}
            writer.finish(words, table.source)


def page(folder: Path, threads: int) -> None:
    """In a process of its own: write the page; time and memory as JSON."""
    keep_freed_memory()
    started, cpu = time.perf_counter(), time.process_time()
    tables = [folder / f"long_{name}.h5" for name in ("train", "valid", "test")]
    train, valid, test = tables
    facts = describe(
        train, valid, [test], folder / "feature_map.json", size="full", threads=threads
    )
    figures = {name: folder / f"{name}.svg" for name in FIGURES}
    plot_data(facts, **figures)
    write_data_page(
        facts, alarms_of(facts, ["minmax"]), figures, folder / "data.md", folder / "data.html"
    )
    found = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    write_json(folder / "found.json", found | {"mib": peak_memory() / 2**20})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--base", type=int, default=50_000)
    parser.add_argument("--mean_length", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(
        "| train and valid rows | s | CPU s | peak MiB | bytes of H5 a row |\n" + "|---" * 5 + "|"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data.make(folder, options.base, options.mean_length)
        for stage in (data.train_to_h5, data.test_to_h5, data.feature_map):
            stage(folder, options.threads)
        for rows in options.rows:
            shares = {"train": rows * 9 // 10, "valid": rows // 10, "test": rows // 10}
            for name, count in shares.items():
                repeat(folder / f"{name}.h5", folder / f"long_{name}.h5", count)
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=page, args=(folder, options.threads))
            process.start()
            process.join()
            found = json.loads((folder / "found.json").read_text())
            size = (folder / "long_train.h5").stat().st_size / shares["train"]
            print(
                f"| {rows:,} | {found['seconds']:.0f} | {found['cpu']:.0f} | {found['mib']:,.0f} "
                f"| {size:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
