"""Raw parquet to H5 as a stream: train rows shuffled over the whole file, test rows in order."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .columns import Columns
from .errors import UserError
from .files import folder_beside, written_beside
from .ragged import Ragged, narrow, parse_sequences
from .raw import as_text, check_columns, is_simulated, open_parquet, stream
from .sampling import Selection
from .store import Block, H5Writer

logger = logging.getLogger(__name__)

BATCH_ROWS = 16_384
# A shuffle bucket is permuted in memory; this many rows are some 150 MB at mean length 500.
BUCKET_ROWS = 65_536


class BlockEncoder:
    """Record batches to blocks; gives each raw category the next free code when it first occurs."""

    def __init__(self, columns: Columns, path: Path) -> None:
        self.columns = columns
        self.path = path
        self.codes: dict[str, dict[str, int]] = {name: {} for name in columns.categorical}

    def encode(self, batch: pa.RecordBatch, rows: np.ndarray) -> Block:
        """Encode the features of `batch`, whose rows have the numbers `rows` in the raw file."""
        columns, file = self.columns, str(self.path)
        numeric = np.empty((len(batch), len(columns.numeric)), np.float32)
        for i, name in enumerate(columns.numeric):
            numeric[:, i] = _as_float32(batch.column(name))
        categorical = np.empty((len(batch), len(columns.categorical)), np.int64)
        for i, name in enumerate(columns.categorical):
            categorical[:, i] = self._encode_category(name, as_text(batch.column(name)))
        sequences = {
            name: parse_sequences(_plain(batch.column(name)), name, file, rows)
            for name in columns.sequences
        }
        _check_parallel(sequences, file, rows)
        return Block(numeric, narrow(categorical), sequences, rows)

    def vocabularies(self) -> dict[str, list[str]]:
        """Code -> raw string per categorical column; code 0, missing, reads ''."""
        return {name: ["", *codes] for name, codes in self.codes.items()}

    def _encode_category(self, name: str, text: pa.Array) -> np.ndarray:
        codes = self.codes[name]
        encoded = text.dictionary_encode()
        try:
            words = encoded.dictionary.to_pylist()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.path}: column {name!r} holds bytes that are not UTF-8 text ({error})"
            ) from None
        code_of_word = np.array([codes.setdefault(w, len(codes) + 1) for w in words] + [0])
        # A null has no index; -1 picks the 0 at the end.
        return code_of_word[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


def convert_train(
    parquet: Path,
    selection: Path,
    columns: Columns,
    train_h5: Path,
    valid_h5: Path,
) -> None:
    """Write the selected rows of `parquet` to two H5 files, each in the selection's random order.

    Two passes over bounded memory: rows are appended to the bucket that their position falls in,
    then each bucket is read, put in order and written.
    """
    file = open_parquet(parquet)
    check_columns(file, parquet, columns, columns.label)
    chosen = Selection.read(selection)
    if chosen.row[-1] >= file.metadata.num_rows:
        raise UserError(
            f"{selection}: holds row {chosen.row[-1]}, and {parquet} has "
            f"{file.metadata.num_rows} rows; it was drawn from another file: delete it and run "
            f"snakemake again"
        )
    encoder = BlockEncoder(columns, parquet)
    with folder_beside(train_h5) as work:
        spills = [_Spill(work / part) for part in ("train", "valid")]
        for rows, batch, label in _selected(file, parquet, columns, chosen.row):
            block = encoder.encode(batch, rows)
            block = Block(block.numeric, block.categorical, block.sequences, rows, label)
            here = np.searchsorted(chosen.row, rows)
            for is_valid, spill in enumerate(spills):
                of_part = np.flatnonzero(chosen.is_valid[here] == bool(is_valid))
                spill.append(block.take(of_part), chosen.position[here[of_part]])
        source = _source(parquet, file)
        with written_beside(train_h5) as train, written_beside(valid_h5) as valid:
            for target, spill in zip((train, valid), spills):
                with _writer(target, columns) as writer:
                    for block in spill.in_order(columns.sequences):
                        writer.append(block)
                    writer.finish(encoder.vocabularies(), source)
    logger.info("%s: %s rows converted", parquet, f"{len(chosen.row):,}")


def convert_test(
    parquet: Path,
    columns: Columns,
    test_h5: Path,
    shards: Path,
    *,
    rows_per_shard: int,
) -> None:
    """Write `parquet` to H5 in file order, and the row ranges of its shards as JSON."""
    file = open_parquet(parquet)
    check_columns(file, parquet, columns, columns.id)
    rows = file.metadata.num_rows
    if rows == 0:
        raise UserError(f"{parquet}: the file has no rows; there is nothing to predict")
    check_ids(file, parquet, columns.id)
    encoder = BlockEncoder(columns, parquet)
    names = (*columns.features, columns.id)
    with written_beside(test_h5) as h5, written_beside(shards) as shards_json:
        with _writer(h5, columns) as writer:
            for first_row, batch in stream(file, parquet, names, BATCH_ROWS):
                block = encoder.encode(batch, np.arange(first_row, first_row + len(batch)))
                ids = np.char.encode(as_text(batch.column(columns.id)).to_numpy(False).astype(str))
                writer.append(
                    Block(block.numeric, block.categorical, block.sequences, block.row, id=ids)
                )
            writer.finish(encoder.vocabularies(), _source(parquet, file))
        bounds = [*range(0, rows, rows_per_shard), rows]
        shards_json.write_text(
            json.dumps([{"start": a, "stop": b} for a, b in pairwise(bounds)], indent=1)
        )
    logger.info("%s: %s rows converted, %d shards", parquet, f"{rows:,}", len(bounds) - 1)


def check_ids(file: pq.ParquetFile, path: Path, name: str) -> None:
    """Raise UserError if an ID is missing or occurs twice."""
    chunks = [as_text(batch.column(0)) for _, batch in stream(file, path, [name], 1 << 20)]
    ids = pa.chunked_array(chunks, pa.string())
    if ids.null_count:
        row = pc.index(ids.is_null(), True).as_py()
        raise UserError(
            f"{path}: ID {name!r} is missing in {ids.null_count:,} rows, first row {row}"
        )
    distinct = pc.count_distinct(ids).as_py()
    if distinct < len(ids):
        counts = pc.value_counts(ids)
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        example = twice[0].as_py()
        raise UserError(
            f"{path}: {len(twice):,} IDs of column {name!r} occur more than once, for example "
            f"{example!r} (first at row {pc.index(ids, example).as_py()}); a submission needs one "
            f"row per ID: remove the repeated rows"
        )


class _Spill:
    """Blocks scattered over bucket files by position, then read back bucket by bucket, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buckets: set[int] = set()
        self.shape: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}

    def append(self, block: Block, position: np.ndarray) -> None:
        bucket_of_row = position // BUCKET_ROWS
        for bucket in np.unique(bucket_of_row):
            here = np.flatnonzero(bucket_of_row == bucket)
            part = block.take(here)
            folder = self.folder / str(bucket)
            folder.mkdir(parents=True, exist_ok=True)
            self.buckets.add(int(bucket))
            for name, array in self._arrays(part, position[here]).items():
                dtype = self._settle_dtype(name, array)
                with open(folder / name, "ab") as file:
                    array.astype(dtype, copy=False).tofile(file)

    def in_order(self, sequences: Sequence[str]) -> Iterator[Block]:
        for bucket in sorted(self.buckets):
            folder = self.folder / str(bucket)
            arrays = {
                name: np.fromfile(folder / name, dtype).reshape(-1, *shape)
                for name, (dtype, shape) in self.shape.items()
                if 0 not in shape
            }
            no_numeric = np.empty((len(arrays["row"]), 0), np.float32)
            ragged = {
                name: Ragged(
                    arrays[f"values_{i}"], np.concatenate(([0], np.cumsum(arrays[f"lengths_{i}"])))
                )
                for i, name in enumerate(sequences)
            }
            block = Block(
                arrays.get("numeric", no_numeric),
                arrays["categorical"],
                ragged,
                arrays["row"],
                arrays["label"],
            )
            yield block.take(np.argsort(arrays["position"]))

    def _settle_dtype(self, name: str, array: np.ndarray) -> np.dtype:
        """The type that holds all of `name` so far; files written narrower are rewritten."""
        known, _ = self.shape.get(name, (array.dtype, ()))
        dtype = np.promote_types(known, array.dtype)
        self.shape[name] = (dtype, array.shape[1:])
        if dtype != known:
            for file in self.folder.glob(f"*/{name}"):
                np.fromfile(file, known).astype(dtype).tofile(file)
        return dtype

    @staticmethod
    def _arrays(block: Block, position: np.ndarray) -> dict[str, np.ndarray]:
        assert block.label is not None
        arrays = {
            "numeric": block.numeric,
            "categorical": narrow(block.categorical),
            "row": block.row,
            "label": block.label,
            "position": position,
        }
        for i, ragged in enumerate(block.sequences.values()):
            arrays |= {f"values_{i}": narrow(ragged.values), f"lengths_{i}": ragged.lengths}
        return arrays


def _selected(
    file: pq.ParquetFile, path: Path, columns: Columns, chosen: np.ndarray
) -> Iterator[tuple[np.ndarray, pa.RecordBatch, np.ndarray]]:
    """Row numbers, features and labels of the chosen rows, batch by batch in file order."""
    for first_row, batch in stream(file, path, (*columns.features, columns.label), BATCH_ROWS):
        start, stop = np.searchsorted(chosen, (first_row, first_row + len(batch)))
        rows = chosen[start:stop]
        if len(rows):
            batch = batch.take(pa.array(rows - first_row))
            # By way of float, for labels that are text, such as '1.0'.
            label = batch.column(columns.label).cast(pa.float64()).cast(pa.uint8()).to_numpy()
            yield rows, batch, label


def _writer(path: Path, columns: Columns) -> H5Writer:
    return H5Writer(path, columns.numeric, columns.categorical, columns.sequences)


def _source(path: Path, file: pq.ParquetFile) -> dict[str, object]:
    return {
        "file": Path(path).name,
        "rows": file.metadata.num_rows,
        "bytes": Path(path).stat().st_size,
        "simulated": is_simulated(file),
    }


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _as_float32(column: pa.Array) -> np.ndarray:
    """Null becomes NaN."""
    if not pa.types.is_float32(column.type):
        column = column.cast(pa.float32(), safe=False)
    return column.to_numpy(zero_copy_only=False)


def _check_parallel(sequences: Mapping[str, Ragged], file: str, rows: np.ndarray) -> None:
    """Several sequences describe the same events, so a row has the same length in each."""
    (first_name, first), *others = sequences.items()
    for name, other in others:
        unequal = np.flatnonzero(first.lengths != other.lengths)
        if len(unequal):
            i = unequal[0]
            raise UserError(
                f"{file}: row {rows[i]}: sequence {first_name!r} has {first.lengths[i]} events, "
                f"{name!r} has {other.lengths[i]}; sequences used together must be equally long"
            )
