"""The H5 format: a click table in a stream, read back in blocks with flat memory.

    numeric            float32 [rows, numeric columns], raw values, NaN where missing
    categorical        smallest unsigned int [rows, categorical columns], code 0 = missing
    vocabulary/<col>   code -> raw string, entry 0 is ''
    sequence/<col>/    values: smallest unsigned int [total]; offsets: int64 [rows + 1];
                       the events' times, if any, are one more of these
    label, id          uint8 [rows] and bytes [rows], if any
    row                int64 [rows], the row's number in its part of the raw table
    time               int64 [rows], the row's time, if the events have times

In <col>, % and / of a column's name read %25 and %2F. Attributes: format, version, rows,
numeric_columns, categorical_columns, sequence_columns (JSON lists), source (JSON: the raw file's
name, rows, bytes, fingerprint, whether it is simulated, and the digest of the draw that a train or
valid file was made with); stretches (JSON: for each, its rows, and how many of them choose; the
others, behind these, only judge). The rows of a train or valid file are in random order within each
stretch.

HDF5 checks all data (Fletcher-32) and all structure (format 1.10 and later) as it reads them;
vocabularies, which it stores apart, have a digest of their own.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..common.errors import UserError, first_line, is_of_machine
from ..common.files import Closing, require_space
from ..common.ragged import Ragged
from .block import Block

FORMAT, VERSION = "feseq-table", 5
# One chunk of a dataset, at most: large enough to read near the disk's speed, small enough that
# little is read in vain where a window takes some thousand rows of each of many stretches.
_CHUNK_BYTES, _CHUNK_ROWS = 1 << 18, 4_096
_CACHE_BYTES = 64 << 20
# Cache of each dataset for the chunk at its end until it is full.
_OPEN_CHUNKS_BYTES = 4 << 20


class H5Writer(Closing):
    """Appends blocks to an H5 file; integers and IDs are as narrow as the values so far allow."""

    def __init__(
        self,
        path: Path,
        numeric: Sequence[str],
        categorical: Sequence[str],
        sequences: Sequence[str],
    ) -> None:
        self.folder = Path(path).resolve().parent
        self._require_space(0)
        self.file = h5py.File(
            path, "w", libver=("v110", "v110"), rdcc_nbytes=_OPEN_CHUNKS_BYTES, rdcc_w0=1
        )
        self.columns = {
            "numeric_columns": list(numeric),
            "categorical_columns": list(categorical),
            "sequence_columns": list(sequences),
        }
        self.rows = 0
        self._stretches: list[tuple[int, int]] = []
        for name in sequences:
            self._append(f"sequence/{_h5_name(name)}/offsets", np.zeros(1, np.int64))

    def append(self, block: Block) -> None:
        """Write the rows of `block` behind those already written."""
        self._require_space(block.nbytes)
        self._append("numeric", block.numeric)
        self._append("categorical", block.categorical)
        for name, ragged in block.sequences.items():
            offsets = self.file[f"sequence/{_h5_name(name)}/offsets"]
            self._append(f"sequence/{_h5_name(name)}/values", ragged.values)
            self._append(offsets.name, ragged.offsets[1:] + offsets[-1])
        self._append("row", block.row)
        if block.label is not None:
            self._append("label", block.label)
        if block.id is not None:
            self._append("id", block.id)
        if block.time is not None:
            self._append("time", block.time)
        self.rows += len(block)

    def end_stretch(self, choosing: int) -> None:
        """End a stretch, of which the rows behind the first `choosing` only judge."""
        rows = self.rows - sum(rows for rows, _ in self._stretches)
        self._stretches.append((rows, choosing))

    def finish(self, vocabularies: Mapping[str, Sequence[str]], source: Mapping[str, Any]) -> None:
        """Write vocabularies and attributes, and close; H5Table refuses an unfinished file.

        Rows that were not ended as stretches are one.
        """
        if not self._stretches:
            self.end_stretch(self.rows)
        for name, words in vocabularies.items():
            dataset = self.file.create_dataset(
                f"vocabulary/{_h5_name(name)}", data=list(words), dtype=h5py.string_dtype()
            )
            dataset.attrs["sha256"] = _digest_of_words(words)
        attributes = {"format": FORMAT, "version": VERSION, "rows": self.rows}
        attributes |= {key: json.dumps(names) for key, names in self.columns.items()}
        attributes["stretches"] = json.dumps(self._stretches)
        self.file.attrs.update(attributes | {"source": json.dumps(dict(source))})
        self.file.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _require_space(self, size: int) -> None:
        """Raise OSError while HDF5 can still close the file; on a full disk it would crash."""
        require_space(self.folder, size + 2 * _CACHE_BYTES)

    def _append(self, name: str, values: np.ndarray) -> None:
        if name not in self.file:
            row_bytes = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:])))
            rows = max(1, _CHUNK_BYTES // row_bytes)
            if not name.endswith("/values"):  # of events, not of rows
                rows = min(rows, _CHUNK_ROWS)
            self.file.create_dataset(
                name,
                data=values,
                # HDF5 allows a width of 0 (no numeric columns) only where it may grow.
                maxshape=(None, *(n or None for n in values.shape[1:])),
                chunks=(rows, *(max(1, n) for n in values.shape[1:])),
                fill_time="never",
                fletcher32=True,
            )
            return
        dataset = self.file[name]
        if not np.can_cast(values.dtype, dataset.dtype):
            dataset = self._widen(dataset, np.promote_types(values.dtype, dataset.dtype))
        start = dataset.shape[0]
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values

    def _widen(self, dataset: h5py.Dataset, dtype: np.dtype) -> h5py.Dataset:
        """Copy to a wider type; rare and early, since the first blocks hold most of the values."""
        name = dataset.name
        wider = self.file.create_dataset(
            f"{name}.wider",
            shape=dataset.shape,
            dtype=dtype,
            maxshape=dataset.maxshape,
            chunks=dataset.chunks,
            fill_time="never",
            fletcher32=True,
        )
        for start in range(0, dataset.shape[0], dataset.chunks[0]):
            piece = slice(start, start + dataset.chunks[0])
            wider[piece] = dataset[piece]
        del self.file[name]
        self.file.move(wider.name, name)
        return self.file[name]


def _h5_name(column: str) -> str:
    """A column's name as one step of an H5 path, where /, . and .. have a meaning."""
    escaped = column.replace("%", "%25").replace("/", "%2F")
    return escaped.replace(".", "%2E") if escaped in (".", "..") else escaped


def of_other_draw(one: object, other: object) -> UserError:
    """The error of two files whose rows were not drawn together: one may train on the other's."""
    return UserError(
        f"{one} and {other} were not made from the same rows and columns; delete both, with "
        f"all files of their folders, and run the same command again, they are rebuilt"
    )


def _digest_of_words(words: Sequence[str]) -> str:
    # NUL, which no word holds, tells ["ab"] from ["a", "b"].
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


class H5Table(Closing):
    """Reads an H5 file of this format; cheap to open.

    Rows come as they are stored, stretch by stretch; `open_files` mixes those of several. Raises
    UserError for any other file, and for damage when it is read. A declared size counts only if the
    file has as many bytes.
    """

    block_rows = 16_384

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"{path}: no such file; run snakemake to make it")
        with self._guarded():
            # No cache: a chunk is read once, or by windows far apart.
            self.file = h5py.File(path, "r", rdcc_nbytes=0)
        try:
            self._read_structure()
        except BaseException:
            self.file.close()
            raise

    def _read_structure(self) -> None:
        with self._guarded():
            attributes = dict(self.file.attrs)
            found = (attributes["format"], int(attributes["version"]))
            if found != (FORMAT, VERSION):
                raise ValueError(f"format {found}, this code reads {(FORMAT, VERSION)}")
            self.rows = int(attributes["rows"])
            self.stretches = [(int(n), int(m)) for n, m in json.loads(attributes["stretches"])]
            self.choosing_rows = sum(choosing for _, choosing in self.stretches)
            self.source: dict[str, Any] = json.loads(attributes["source"])
            self.numeric_columns: list[str] = json.loads(attributes["numeric_columns"])
            self.categorical_columns: list[str] = json.loads(attributes["categorical_columns"])
            self.sequence_columns: list[str] = json.loads(attributes["sequence_columns"])
            if not isinstance(self.source.get("simulated"), bool):
                raise ValueError("its source says nothing")
            self._check_shapes()

    @property
    def has_times(self) -> bool:
        """True if its rows have times."""
        return "time" in self.file

    @property
    def judges(self) -> np.ndarray:
        """The rows that judge, bool [rows]; all of them where none is kept apart for that."""
        if self.choosing_rows == self.rows:
            return np.ones(self.rows, bool)
        stretches = (np.arange(rows) >= choosing for rows, choosing in self.stretches)
        return np.concatenate([*stretches])

    @property
    def identity(self) -> str:
        """What the file was made from: equal for the train and the valid file of one draw."""
        columns = [self.numeric_columns, self.categorical_columns, self.sequence_columns]
        made_from = json.dumps([VERSION, self.source, columns], sort_keys=True)
        return hashlib.sha256(made_from.encode()).hexdigest()[:16]

    def vocabulary(self, column: str) -> list[str]:
        """Raw strings by code; entry 0 stands for missing."""
        with self._guarded():
            dataset = self.file[f"vocabulary/{_h5_name(column)}"]
            words = list(dataset.asstr()[:])
            if _digest_of_words(words) != dataset.attrs["sha256"]:
                raise ValueError(f"the vocabulary of {column!r} has a wrong checksum")
            return words

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of `label`, `id`, `row` or `categorical`."""
        with self._guarded():
            values = self._data[name][start:stop]
            if name == "categorical":
                self._check_codes(values)
            return values

    def lengths(self, sequence: str) -> np.ndarray:
        """Events of every row in a sequence column."""
        with self._guarded():
            return np.diff(self._data[f"sequence/{_h5_name(sequence)}/offsets"][:])

    def read(self, start: int, stop: int, sequences_of: Sequence[str] | None = None) -> Block:
        """Rows start to stop (not included) as one block, with all sequences or those named."""
        with self._guarded():
            sequences = {}
            for name in self.sequence_columns if sequences_of is None else sequences_of:
                offsets = self._data[f"sequence/{_h5_name(name)}/offsets"][start : stop + 1]
                values = self._data[f"sequence/{_h5_name(name)}/values"][offsets[0] : offsets[-1]]
                sequences[name] = Ragged(values, offsets - offsets[0])
                if (np.diff(offsets) < 0).any() or len(values) != offsets[-1] - offsets[0]:
                    raise ValueError(f"the offsets of {name!r} lead outside its values")
            optional = {
                name: self._data[name][start:stop] if name in self._data else None
                for name in ("label", "id", "time")
            }
            numeric, categorical, row = (
                self._data[name][start:stop] for name in ("numeric", "categorical", "row")
            )
            self._check_codes(categorical)
            return Block(numeric, categorical, sequences, row, **optional)

    def blocks(
        self, block_rows: int | None = None, sequences_of: Sequence[str] | None = None
    ) -> Iterator[Block]:
        """All rows in order, `block_rows` at a time (None: the class's), as `read` gives them."""
        rows = block_rows or self.block_rows
        for start in range(0, self.rows, rows):
            yield self.read(start, min(start + rows, self.rows), sequences_of)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _check_codes(self, categorical: np.ndarray) -> None:
        if (categorical.max(axis=0, initial=0) >= self._words).any():
            raise ValueError("categorical codes are not in their vocabularies")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn whatever HDF5 raises on damaged bytes into a UserError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # damaged bytes can make HDF5 and h5py raise anything
            if is_of_machine(error):
                raise
            raise UserError(
                f"{self.path}: not a complete H5 file of this workflow ({first_line(error)}); "
                f"delete it and run the same command again, it is rebuilt"
            ) from None

    def _check_shapes(self) -> None:
        """Raise ValueError unless all datasets have `rows` rows and the bytes that they declare."""
        if not self.stretches or sum(rows for rows, _ in self.stretches) != self.rows:
            raise ValueError(f"its stretches have other than {self.rows:,} rows")
        for rows, choosing in self.stretches:
            if not 0 <= choosing <= rows:
                raise ValueError(f"{choosing:,} of {rows:,} rows choose")
        kinds = {"numeric": "f", "categorical": "u", "row": "i"}
        optional = {"label": "u", "id": "S", "time": "i"}
        kinds |= {name: kind for name, kind in optional.items() if name in self.file}
        lengths = dict.fromkeys(kinds, self.rows)
        for name in self.sequence_columns:
            path = f"sequence/{_h5_name(name)}"
            lengths |= {f"{path}/offsets": self.rows + 1, f"{path}/values": -1}
            kinds |= {f"{path}/offsets": "i", f"{path}/values": "u"}
        # Kept, since each look into the file costs as much as some hundred rows.
        self._data: dict[str, h5py.Dataset] = {name: self.file[name] for name in lengths}
        for name, length in lengths.items():
            dataset = self._data[name]
            if length not in (-1, dataset.shape[0]):
                raise ValueError(f"{name} has {dataset.shape[0]:,} rows, not {length:,}")
            if dataset.dtype.kind != kinds[name]:
                raise ValueError(f"{name} has type {dataset.dtype}")
            is_plain = not (dataset.external or dataset.is_virtual)
            filters = dataset.id.get_create_plist()
            if not is_plain or filters.get_nfilters() != 1 or not dataset.fletcher32:
                raise ValueError(f"{name} is not stored with a checksum alone")
            if dataset.nbytes > dataset.id.get_storage_size():
                raise ValueError(f"{name} holds fewer bytes than it declares")
        widths = {"numeric": self.numeric_columns, "categorical": self.categorical_columns}
        for name, columns in widths.items():
            if self._data[name].shape[1:] != (len(columns),):
                raise ValueError(f"{name} has shape {self._data[name].shape}")
        names = [f"vocabulary/{_h5_name(name)}" for name in self.categorical_columns]
        self._words = np.array([len(self.file[name]) for name in names], np.int64)
        # A word takes 16 bytes plus its text.
        if 16 * int(self._words.sum()) > self.path.stat().st_size:
            raise ValueError("its vocabularies hold fewer bytes than they declare")
