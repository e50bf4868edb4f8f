"""Shuffling more rows than fit into memory: scatter them to buckets, then order each bucket."""

import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..common.ahead import map_ahead
from ..common.files import Closing
from ..common.ragged import Ragged, narrow
from .store import Block

# A bucket is ordered in memory: about 50 MB at mean length 500.
BUCKET_ROWS = 32_768
# The process's limit, less some; when there are more buckets, files are closed and reopened.
_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
MOST_OPEN_FILES = 10_000 if _LIMIT == resource.RLIM_INFINITY else max(1, _LIMIT - 100)


def bucket_of(place: np.ndarray) -> np.ndarray:
    """The number of the bucket of a row, from its place in the order."""
    return place // BUCKET_ROWS


def whole_buckets(rows: int) -> int:
    """Places in as many buckets as `rows` rows need."""
    return -(-rows // BUCKET_ROWS) * BUCKET_ROWS


class Scatter(Closing):
    """Labelled blocks in, blocks in the order of their rows' places out.

    A row goes to the bucket that its place falls in. Each bucket is one file of fixed-width
    rows and one file of values per sequence, in `folder`, which must exist.
    """

    def __init__(self, folder: Path, sequences: Sequence[str]) -> None:
        self.folder = folder
        self.sequences = list(sequences)
        self.row_type = np.dtype([])
        self.value_types = [np.dtype(np.uint8)] * len(self.sequences)
        self.files: dict[str, BinaryIO] = {}

    def append(self, block: Block, place: np.ndarray) -> None:
        """Scatter the rows of `block`, to the places [rows] in the order.

        Consecutive rows of one bucket are written at once, so rows should come grouped by bucket.
        """
        bucket = bucket_of(place)
        fixed = self._fixed(block, place)
        for i, name in enumerate(self.sequences):
            self._settle_type(i, block.sequences[name].values.dtype)
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(block)]):
            number = int(bucket[start])
            self._write(f"{number}.rows", fixed[start:stop])
            for i, name in enumerate(self.sequences):
                ragged = block.sequences[name]
                values = ragged.values[ragged.offsets[start] : ragged.offsets[stop]]
                self._write(f"{number}.values{i}", values.astype(self.value_types[i], copy=False))

    def in_order(self, start: int, stop: int, threads: int = 1) -> Iterator[Block]:
        """The rows at places start to stop, one block per bucket, read ahead."""
        self.close()
        buckets = range(start // BUCKET_ROWS, -(-stop // BUCKET_ROWS))
        return map_ahead(self._bucket, buckets, threads)

    def _fixed(self, block: Block, place: np.ndarray) -> np.ndarray:
        """Everything but the sequences' values, as one structured array."""
        assert block.label is not None
        time = np.empty((len(block), 0), np.int64) if block.time is None else block.time
        self.row_type = np.dtype(
            [
                ("numeric", np.float32, block.numeric.shape[1:]),
                ("categorical", np.uint32, block.categorical.shape[1:]),
                ("row", np.int64),
                ("label", np.uint8),
                # Width 0 in a table without times.
                ("time", np.int64, time.shape[1:]),
                ("place", np.int64),
                ("lengths", np.int64, len(self.sequences)),
            ]
        )
        fixed = np.empty(len(block), self.row_type)
        fixed["numeric"] = block.numeric
        fixed["categorical"] = block.categorical
        fixed["row"] = block.row
        fixed["label"] = block.label
        fixed["time"] = time
        fixed["place"] = place
        for i, name in enumerate(self.sequences):
            fixed["lengths"][:, i] = block.sequences[name].lengths
        return fixed

    def _bucket(self, number: int) -> Block:
        fixed = self._take_file(f"{number}.rows", self.row_type)
        sequences = {}
        for i, name in enumerate(self.sequences):
            values = self._take_file(f"{number}.values{i}", self.value_types[i])
            offsets = np.concatenate(([0], np.cumsum(fixed["lengths"][:, i])))
            sequences[name] = Ragged(values, offsets)
        order = np.argsort(fixed["place"])
        sequences = {name: ragged.take(order) for name, ragged in sequences.items()}
        return Block(
            fixed["numeric"][order],
            narrow(fixed["categorical"][order]),
            {name: Ragged(narrow(r.values), r.offsets) for name, r in sequences.items()},
            fixed["row"][order],
            fixed["label"][order],
            time=fixed["time"][order] if fixed["time"].ndim == 1 else None,
        )

    def _settle_type(self, i: int, dtype: np.dtype) -> None:
        """Widen the values of sequence `i` if needed; files with narrower ones are rewritten."""
        known, wide = self.value_types[i], np.promote_types(self.value_types[i], dtype)
        if wide != known:
            self.close()
            for file in self.folder.glob(f"*.values{i}"):
                np.fromfile(file, known).astype(wide).tofile(file)
            self.value_types[i] = wide

    def _write(self, name: str, array: np.ndarray) -> None:
        if name not in self.files:
            if len(self.files) >= MOST_OPEN_FILES:
                self.close()
            self.files[name] = open(self.folder / name, "ab", buffering=0)  # noqa: SIM115
        left = np.ascontiguousarray(array).view(np.uint8).data
        try:
            # A nearly full disk takes a part and reports no error.
            while len(left):
                left = left[self.files[name].write(left) :]
        except OSError as error:
            error.filename = str(self.folder)
            raise

    def _take_file(self, name: str, dtype: np.dtype) -> np.ndarray:
        """Read and remove a file; its disk space and cached pages serve what is written next."""
        array = np.fromfile(self.folder / name, dtype)
        (self.folder / name).unlink()
        return array

    def close(self) -> None:
        """Close the bucket files; they stay."""
        for file in self.files.values():
            file.close()
        self.files.clear()
