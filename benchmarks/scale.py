"""What an epoch costs as rows, max_len and processes grow, and what that makes of many more rows.

    python benchmarks/scale.py --rows 4000 8000 16000 --max_len 100 150 500 --processes 1 2

Makes simulated data of mean length 500 in a temporary folder, for each number of rows. Each line is
a whole epoch, its data read, encoded and trained on, by processes that share `threads`; then the
draw of the rows (`sample`), the one step over the whole train table, is measured on labels alone,
many more of them. A straight line through each gives the hours and the memory at
`--extrapolate` rows; nothing is run there.
"""

import argparse
import multiprocessing
import tempfile
import time
from itertools import product
from pathlib import Path

import data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ranks

from feseq.common.memory import keep_freed_memory, peak_memory
from feseq.config.sampling import Sampling


def epochs(options: argparse.Namespace) -> None:
    """Print the cost of an epoch for each number of rows, max_len and processes."""
    print("| rows | max_len | processes | s an epoch | samples/s | peak MiB of one |", end="")
    print("".join(f" {rows:,} rows |" for rows in options.extrapolate))
    print("|---" * (6 + len(options.extrapolate)) + "|")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            data.make(folder, rows, 500)
            data.train_to_h5(folder, options.threads)
            data.feature_map(folder, options.threads)
            for max_len, processes in product(options.lengths, options.processes):
                options.max_len = max_len
                found = ranks.run(processes, folder, options.threads, None, options)
                trained = sum(len(step) for rank in found for step in rank["rows"])
                seconds = max(rank["seconds"] for rank in found)
                peak = max(rank["peak_mib"] for rank in found)
                line = f"| {trained:,} | {options.max_len} | {processes} | {seconds:.1f} "
                line += f"| {trained / seconds:,.0f} | {peak:,.0f} |"
                for wanted in options.extrapolate:
                    line += f" {seconds / trained * wanted / 3600:,.0f} h |"
                print(line, flush=True)


def sample(folder: Path, rows: int) -> None:
    """In a process of its own: print time and memory of drawing all of `rows` rows."""
    keep_freed_memory()
    started = time.perf_counter()
    part_rows = data.CONFIG["parts"]["rows"]
    data.draw(folder / "labels.parquet", folder, Sampling(), rows // part_rows)
    print(f"| {rows:,} | {time.perf_counter() - started:.1f} | {peak_memory() / 2**20:,.0f} |")


def samples(options: argparse.Namespace) -> None:
    """Print the cost of `sample`, from files that have a label and nothing else."""
    print("\n| rows drawn | s | peak MiB |\n|---|---|---|", flush=True)
    random = np.random.default_rng(1)
    for rows in options.labels:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            label = pa.array((random.random(rows) < 0.02).astype(np.int8))
            path = folder / "labels.parquet"
            pq.write_table(pa.table({"clicked": label}), path, row_group_size=50_000)
            process = multiprocessing.get_context("spawn").Process(
                target=sample, args=(folder, rows)
            )
            process.start()
            process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[4_000, 8_000, 16_000])
    parser.add_argument("--max_len", type=int, nargs="+", default=[100, 150, 500], dest="lengths")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--labels", type=int, nargs="+", default=[10_700_000, 30_000_000, 100_000_000]
    )
    parser.add_argument("--extrapolate", type=int, nargs="+", default=[10_704_179, 1_000_000_000])
    parser.add_argument("--size", default="medium")
    parser.add_argument("--batch_rows", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2, help="of all processes together")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    options.steps = None
    epochs(options)
    samples(options)


if __name__ == "__main__":
    main()
