"""Size and speed of the H5 format by chunk size and compression.

    python benchmarks/storage.py --rows 200000

Copies the two large datasets of a simulated train.h5, numeric and sequence/<name>/values, with
each filter and chunk size, reads them back in windows as training does, and prints bytes per row
and the rows per second of writing and reading. Filters of hdf5plugin join in where it is installed.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import data
import h5py
import numpy as np

WINDOW_ROWS = 65_536

FILTERS: dict[str, Mapping[str, Any]] = {
    "none": {},
    "fletcher32": {"fletcher32": True},
    "lzf": {"compression": "lzf"},
    "shuffle + lzf": {"compression": "lzf", "shuffle": True},
    "shuffle + gzip 1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "shuffle + gzip 4": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
}
try:
    import hdf5plugin
except ImportError:
    pass
else:
    FILTERS |= {
        "bitshuffle + lz4": hdf5plugin.Bitshuffle(),
        "blosc2 lz4": hdf5plugin.Blosc2(cname="lz4", clevel=5, filters=1),
        "shuffle + zstd 1": {**hdf5plugin.Zstd(clevel=1), "shuffle": True},
    }


def measure(
    arrays: Mapping[str, np.ndarray], rows: int, path: Path, chunk_kib: int, options: Any
) -> tuple[float, float, float]:
    """Bytes per row, rows/s written, rows/s read back in windows of random order."""
    windows = max(1, rows // WINDOW_ROWS)
    started = time.perf_counter()
    with h5py.File(path, "w", rdcc_nbytes=64 << 20) as file:
        for name, array in arrays.items():
            row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
            chunk_rows = min(len(array), max(1, (chunk_kib << 10) // row_bytes))
            chunks = (chunk_rows, *array.shape[1:])
            dataset = file.create_dataset(name, array.shape, array.dtype, chunks=chunks, **options)
            for piece in np.array_split(np.arange(len(array)), windows):
                dataset[piece[0] : piece[-1] + 1] = array[piece[0] : piece[-1] + 1]
    written = time.perf_counter() - started
    started = time.perf_counter()
    with h5py.File(path, "r") as file:
        for window in np.random.default_rng(0).permutation(windows):
            for name, array in arrays.items():
                bounds = len(array) * window // windows, len(array) * (window + 1) // windows
                file[name][slice(*bounds)]
    read = time.perf_counter() - started
    return path.stat().st_size / rows, rows / written, rows / read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--mean_length", type=float, default=500)
    parser.add_argument("--folder", type=Path, help="where to make the data (default: temporary)")
    options = parser.parse_args()
    data.keep_freed_memory()
    print(
        "| filter | chunk KiB | bytes a row | rows/s written | rows/s read |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        data.make(folder, options.rows, options.mean_length)
        data.train_to_h5(folder, threads=2)
        with h5py.File(folder / "train.h5") as file:
            (sequence,) = file["sequence"].values()
            arrays = {"numeric": file["numeric"][:], "values": sequence["values"][:]}
        rows = len(arrays["numeric"])
        cases = [("none", chunk_kib) for chunk_kib in (64, 256, 4096)]
        for filter_name, chunk_kib in [*cases, *((name, 1024) for name in FILTERS)]:
            found = measure(arrays, rows, folder / "x.h5", chunk_kib, FILTERS[filter_name])
            size, written, read = (f"{value:,.0f}" for value in found)
            print(f"| {filter_name} | {chunk_kib} | {size} | {written} | {read} |", flush=True)


if __name__ == "__main__":
    main()
