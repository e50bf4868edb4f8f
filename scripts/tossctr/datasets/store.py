"""The H5 format of a click table, written and read in blocks with bounded memory.

    numeric            float32 [rows, numeric columns], raw values, NaN where missing
    categorical        uint64 [rows, categorical columns], codes of `categories.py`, 0 = missing
    vocabulary/<col>   uint8 [bytes], the raw strings of a categorical column, or of a sequence's
                       tokens that are not integers, sorted, each followed by a NUL
    sequence/<col>/    values: smallest unsigned int [total]; offsets: int64 [rows + 1]; <col> may
                       be the events' times
    label, id          uint8 [rows] and bytes [rows], if any
    period, fold       uint8 [rows], for drawn rows: the row's time interval (0 the oldest), and
                       its group's fold
    row                int64 [rows], the row's number in its part of the raw table
    time               int64 [rows], the row's time, if the events have times

In <col>, % becomes %25, / becomes %2F, and a column named . becomes %2E. Attributes: format,
version, rows, split (train, validation; empty for test rows), numeric_columns, categorical_columns,
sequence_columns (JSON lists), source (JSON: the raw file's name, rows, fingerprint, whether it is
simulated, the digest of the code and, for drawn rows, the digest of the draw and the size). Drawn
rows are shuffled within the chunks that a conversion holds in memory.

HDF5 checks all data (Fletcher-32) and all metadata (format 1.10 and later) as it reads them.
`H5Table` checks offsets, since compiled loops do not.
"""

import hashlib
import io
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..common.arrays import Ragged
from ..common.files import reporting_damage
from ..config.columns import Columns
from .table import Block, Table

FORMAT, VERSION = "tossctr-table", 12
# The maximum bytes and rows of a chunk: large enough for the disk's speed, small enough that a
# window, which reads a thousand rows at each of many positions, reads few unneeded rows.
_CHUNK_BYTES, _CHUNK_ROWS = 1 << 18, 4_096
# Cache of each dataset: it holds the last chunk until the chunk is full.
_OPEN_CHUNKS_BYTES = 4 << 20


class _File(io.FileIO):
    """A file that HDF5 can close even if the disk or quota is full.

    HDF5 crashes if it cannot write its buffers. This class stores the first error in `error`, and
    ignores later writes.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all data, or set `error`."""
        left = memoryview(data)
        while len(left) and self.error is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.error = OSError(error.errno, error.strerror, str(self.name))
        return len(data)


class H5Writer:
    """Appends blocks to an H5 file; sequences and IDs get the smallest dtype that holds them."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._disk = _File(path, "w+")
        self.file = h5py.File(
            self._disk, "w", libver=("v110", "v110"), rdcc_nbytes=_OPEN_CHUNKS_BYTES, rdcc_w0=1
        )
        self.columns = columns
        self.rows = 0
        for name in columns.sequence_columns:
            self._append(f"sequence/{_h5_name(name)}/offsets", np.zeros(1, np.int64))

    def append(self, block: Block) -> None:
        """Append the rows of `block`."""
        with self._writing():
            for name, ragged in block.sequences.items():
                group = f"sequence/{_h5_name(name)}"
                end = self.file[f"{group}/offsets"][-1]
                self._append(f"{group}/values", ragged.values)
                self._append(f"{group}/offsets", ragged.offsets[1:] + end)
            for name, values in block.arrays.items():
                self._append(name, values)
        self.rows += len(block)

    def finish(
        self, words: Mapping[str, Collection[str]], source: Mapping[str, Any], split: str = ""
    ) -> None:
        """Write each column's vocabulary and the file's metadata, and close the file.

        `words` has the distinct texts of each column. `source` describes the raw table. `split` is
        "train", "validation", or "" for test rows.
        """
        for name, strings in words.items():
            if strings or name not in self.columns.sequence_columns:
                text = "".join(f"{word}\0" for word in sorted(strings)).encode()
                self._append(f"vocabulary/{_h5_name(name)}", np.frombuffer(text, np.uint8))
        header = {
            "numeric_columns": self.columns.numeric,
            "categorical_columns": self.columns.categorical,
            "sequence_columns": self.columns.sequence_columns,
            "source": dict(source),
        }
        attributes = {"format": FORMAT, "version": VERSION, "rows": self.rows, "split": split}
        self.file.attrs.update(attributes | {k: json.dumps(v) for k, v in header.items()})
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice. Raises OSError if a write failed."""
        with closing(self._disk), self._writing():
            self.file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """If a write failed, raise its error instead of the later errors of HDF5."""
        try:
            yield
        finally:
            if self._disk.error is not None:
                raise self._disk.error

    def _append(self, name: str, values: np.ndarray) -> None:
        """Append `values` to the dataset `name`, or create the dataset."""
        before = self.file.get(name)
        if before is not None and not np.can_cast(values.dtype, before.dtype):
            # Rewrites the dataset with a wider dtype: rare, and mostly early when it is small.
            wider = np.promote_types(values.dtype, before.dtype)
            del self.file[name]
            for start in range(0, len(before), before.chunks[0]):
                self._append(name, before[start : start + before.chunks[0]].astype(wider))
            before = self.file.get(name)
        if before is not None:
            start = len(before)
            before.resize(start + len(values), axis=0)
            before[start:] = values
            return
        # HDF5 allows a width of 0 (no numeric columns) only if the maximum width is unlimited.
        widths = [n or None for n in values.shape[1:]]
        row_bytes = max(1, values.itemsize * math.prod(values.shape[1:]))
        limit = _CHUNK_BYTES if name.endswith("/values") else _CHUNK_ROWS  # events or rows
        self.file.create_dataset(
            name,
            data=values,
            maxshape=(None, *widths),
            chunks=(max(1, min(_CHUNK_BYTES // row_bytes, limit)), *(n or 1 for n in widths)),
            fill_time="never",
            fletcher32=True,
        )


def _h5_name(column: str) -> str:
    """A column's name as one component of an H5 path, in which . would mean the group itself."""
    return "%2E" if column == "." else column.replace("%", "%25").replace("/", "%2F")


class H5Table(Table):
    """The rows of a file that `H5Writer` wrote, in stored order; opening it reads no rows.

    Raises OSError if the file does not exist, and UserError if it has another format. Damaged data
    raise UserError when they are read.
    """

    def __init__(self, path: Path) -> None:
        with reporting_damage(path), ExitStack() as stack:
            # No cache: a chunk is read once, or by distant windows.
            self.file = stack.enter_context(h5py.File(path, "r", rdcc_nbytes=0))
            attributes = dict(self.file.attrs)
            written = (attributes["format"], int(attributes["version"]))
            if written != (FORMAT, VERSION):
                raise ValueError(f"format {written}, this code reads {(FORMAT, VERSION)}")
            keys = ("numeric_columns", "categorical_columns", "sequence_columns", "source")
            header = {key: json.loads(attributes[key]) for key in keys}
            content = json.dumps([VERSION, *header.values()], sort_keys=True)
            identity = hashlib.sha256(content.encode()).hexdigest()[:16]
            self.rows = int(attributes["rows"])
            split, has_times = str(attributes["split"]), "time" in self.file
            super().__init__(path, **header, has_times=has_times, identity=identity, split=split)
            # Looked up once: a lookup takes as long as reading a few hundred rows.
            items = self.file.items()
            self._data = {name: item for name, item in items if isinstance(item, h5py.Dataset)}
            self._sequences = {}
            for name in self.sequence_columns:
                group = self.file[f"sequence/{_h5_name(name)}"]
                self._sequences[name] = group["offsets"], group["values"]
            stack.pop_all()

    def vocabulary(self, column: str) -> list[str]:
        with reporting_damage(self.path):
            name = f"vocabulary/{_h5_name(column)}"
            if column in self.sequence_columns and name not in self.file:
                return []
            return self.file[name][:].tobytes().decode().split("\0")[:-1]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        with reporting_damage(self.path):
            return self._data[name][start:stop]

    def read(self, start: int, stop: int, sequences: Sequence[str] | None = None) -> Block:
        ragged = {}
        with reporting_damage(self.path):
            for name in self.sequence_columns if sequences is None else sequences:
                offsets, values = self._sequences[name]
                bounds = offsets[start : stop + 1]
                first, last = int(bounds[0]), int(bounds[-1])
                is_short = len(bounds) <= stop - start
                if is_short or first < 0 or last > len(values) or (bounds[1:] < bounds[:-1]).any():
                    raise ValueError(
                        f"offsets of {name!r} decrease, or exceed the number of values"
                    )
                ragged[name] = Ragged(values[first:last], bounds - first)
            arrays = {name: data[start:stop] for name, data in self._data.items()}
            return Block(sequences=ragged, **arrays)

    def close(self) -> None:
        self.file.close()
