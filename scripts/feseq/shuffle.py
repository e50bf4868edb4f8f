"""Putting more rows than fit into memory in a given order: scatter to buckets, order each."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .ahead import map_ahead
from .files import Closing
from .ragged import Ragged, narrow
from .store import Block

# A bucket is ordered in memory; this many rows are some 100 MB at mean length 500.
BUCKET_ROWS = 65_536


class Scatter(Closing):
    """Labelled blocks in, blocks in the order of their rows' positions out.

    A row goes to the bucket that its position falls in. Each bucket is one file of fixed-width
    rows and one file of values per sequence, in `folder`.
    """

    def __init__(self, folder: Path, sequences: Sequence[str]) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.sequences = list(sequences)
        self.row_type = np.dtype([])
        self.value_types = [np.dtype(np.uint8)] * len(self.sequences)
        self.files: dict[str, BinaryIO] = {}
        self.buckets: set[int] = set()

    def append(self, block: Block, rows: np.ndarray, position: np.ndarray) -> None:
        """Scatter these rows of `block`; `position` [rows] is the place of each in the order."""
        bucket = position // BUCKET_ROWS
        order = np.argsort(bucket, kind="stable")
        rows, position, bucket = rows[order], position[order], bucket[order]
        fixed = self._fixed(block, rows, position)
        ragged = [block.sequences[name].take(rows) for name in self.sequences]
        for i, sequence in enumerate(ragged):
            self._settle_type(i, narrow(sequence.values).dtype)
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(rows)]):
            number = int(bucket[start])
            self.buckets.add(number)
            self._write(f"{number}.rows", fixed[start:stop])
            for i, sequence in enumerate(ragged):
                values = sequence.values[sequence.offsets[start] : sequence.offsets[stop]]
                self._write(f"{number}.values{i}", values.astype(self.value_types[i], copy=False))

    def in_order(self) -> Iterator[Block]:
        """One block per bucket; the next is read and ordered while one is used."""
        self.close()
        return map_ahead(self._bucket, sorted(self.buckets))

    def _fixed(self, block: Block, rows: np.ndarray, position: np.ndarray) -> np.ndarray:
        """All but the sequences' values, as one structured array."""
        assert block.label is not None
        self.row_type = np.dtype(
            [
                ("numeric", np.float32, block.numeric.shape[1:]),
                ("categorical", np.uint32, block.categorical.shape[1:]),
                ("row", np.int64),
                ("label", np.uint8),
                ("position", np.int64),
                ("lengths", np.int64, len(self.sequences)),
            ]
        )
        fixed = np.empty(len(rows), self.row_type)
        fixed["numeric"] = block.numeric[rows]
        fixed["categorical"] = block.categorical[rows]
        fixed["row"] = block.row[rows]
        fixed["label"] = block.label[rows]
        fixed["position"] = position
        for i, name in enumerate(self.sequences):
            fixed["lengths"][:, i] = block.sequences[name].lengths[rows]
        return fixed

    def _bucket(self, number: int) -> Block:
        fixed = np.fromfile(self.folder / f"{number}.rows", self.row_type)
        sequences = {}
        for i, name in enumerate(self.sequences):
            values = np.fromfile(self.folder / f"{number}.values{i}", self.value_types[i])
            offsets = np.concatenate(([0], np.cumsum(fixed["lengths"][:, i])))
            sequences[name] = Ragged(values, offsets)
        order = np.argsort(fixed["position"])
        sequences = {name: ragged.take(order) for name, ragged in sequences.items()}
        return Block(
            fixed["numeric"][order],
            narrow(fixed["categorical"][order]),
            {name: Ragged(narrow(r.values), r.offsets) for name, r in sequences.items()},
            fixed["row"][order],
            fixed["label"][order],
        )

    def _settle_type(self, i: int, dtype: np.dtype) -> None:
        """Widen the values of sequence `i` if need be; files written narrower are rewritten."""
        known, wide = self.value_types[i], np.promote_types(self.value_types[i], dtype)
        if wide != known:
            self.close()
            for file in self.folder.glob(f"*.values{i}"):
                np.fromfile(file, known).astype(wide).tofile(file)
            self.value_types[i] = wide

    def _write(self, name: str, array: np.ndarray) -> None:
        if name not in self.files:
            self.files[name] = open(self.folder / name, "ab", buffering=0)  # noqa: SIM115
        self.files[name].write(np.ascontiguousarray(array).view(np.uint8).data)

    def close(self) -> None:
        """Close the bucket files; they stay."""
        for file in self.files.values():
            file.close()
        self.files.clear()
