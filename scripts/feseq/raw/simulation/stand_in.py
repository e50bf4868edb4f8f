"""Writing the stand-in: chunk by chunk, so that memory does not grow with the number of rows."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...common.errors import UserError
from ...common.files import written_beside
from ...common.parquet import SIMULATED_MARK
from ...common.progress import progress
from .click_model import click_model
from .drawn_columns import DRAWN_CATEGORIES, day_of_week, draw_columns
from .drawn_sequences import draw_sequences, join_codes
from .statistics import test_columns, train_columns

logger = logging.getLogger(__name__)

Split = Literal["train", "test"]
_SPLIT_CODE: dict[str, int] = {"train": 0, "test": 1}


def simulate_split(
    parquet: Path,
    truth: Path,
    *,
    split: Split,
    rows: int,
    mean_length: float,
    seed: int,
    chunk_rows: int = 20_000,
) -> None:
    """Write a simulated train or test file and, apart from it, the true click probabilities.

    `parquet` gets the columns, types and marginal statistics of the real file, sequences of
    `mean_length` events on average. `truth` gets, in the same order, `row` (train) or `ID` (test)
    and `probability`. Each chunk is a row group with its own random stream: a full chunk is the
    same however many rows follow, except for the day of week, which depends on their number.
    """
    if split not in _SPLIT_CODE:
        raise UserError(f"split is {split!r}; it must be one of {', '.join(_SPLIT_CODE)}")
    if rows < 1 or chunk_rows < 1:
        raise UserError(f"rows ({rows}) and chunk_rows ({chunk_rows}) must be at least 1")
    if not 1.0 <= mean_length < 65_536.0:
        raise UserError(f"mean_length is {mean_length}; it must lie between 1 and 65,535 events")
    model = click_model(mean_length)
    data_schema, truth_schema = _schema(split), _truth_schema(split)
    chunks = -(-rows // chunk_rows)
    with (
        written_beside(Path(parquet)) as data_part,
        written_beside(Path(truth)) as truth_part,
        pq.ParquetWriter(
            data_part, data_schema, compression="zstd", use_dictionary=list(DRAWN_CATEGORIES)
        ) as data_writer,
        pq.ParquetWriter(truth_part, truth_schema, compression="zstd") as truth_writer,
        progress("simulated", rows) as simulating,
    ):
        for chunk in range(chunks):
            first = chunk * chunk_rows
            count = min(chunk_rows, rows - first)
            rng = np.random.default_rng([seed, _SPLIT_CODE[split], chunk])
            columns = draw_columns(rng, count)
            sequences = draw_sequences(rng, count, mean_length)
            probability = model.probability(columns, sequences)
            arrays = columns.arrays()
            arrays["day_of_week"] = pa.array(day_of_week(first, count, rows)).cast(pa.string())
            arrays["seq"] = join_codes(sequences)
            key = _key(split, first, count)
            if split == "train":
                arrays["clicked"] = pa.array((rng.random(count) < probability).astype(np.int64))
            else:
                arrays["ID"] = key
            data_writer.write_batch(_batch(arrays, data_schema))
            truths = {truth_schema.names[0]: key, "probability": pa.array(probability)}
            truth_writer.write_batch(_batch(truths, truth_schema))
            simulating.advance(count)
    logger.info("%s: %s rows simulated", parquet, f"{rows:,}")


def _type(column: str) -> pa.DataType:
    if column == "clicked":
        return pa.int64()
    is_text = column in (*DRAWN_CATEGORIES, "day_of_week", "seq", "ID")
    return pa.string() if is_text else pa.float32()


def _schema(split: Split) -> pa.Schema:
    names = train_columns() if split == "train" else test_columns()
    # The mark tells everything made from this file that it is simulated.
    return pa.schema([pa.field(name, _type(name)) for name in names], SIMULATED_MARK)


def _truth_schema(split: Split) -> pa.Schema:
    key = ("row", pa.int64()) if split == "train" else ("ID", pa.string())
    return pa.schema([key, ("probability", pa.float64())])


def _key(split: Split, first: int, count: int) -> pa.Array:
    numbers = range(first, first + count)
    if split == "train":
        return pa.array(numbers, type=pa.int64())
    return pa.array([f"TEST_{number:07d}" for number in numbers])


def _batch(arrays: dict[str, pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)
