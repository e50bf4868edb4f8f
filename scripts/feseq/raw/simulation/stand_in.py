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
from .drawn_columns import CATEGORIES, TEST_DAY, draw_columns, train_day
from .drawn_sequences import draw_sequences, join_codes
from .drawn_users import test_users, train_users
from .statistics import test_columns, train_columns

logger = logging.getLogger(__name__)

Split = Literal["train", "test"]
NEW_USER = "probability_of_new_user"
_SPLIT_CODE: dict[str, int] = {"train": 0, "test": 1}


def simulate_split(
    parquet: Path,
    truth: Path,
    *,
    split: Split,
    rows: int,
    mean_length: float,
    seed: int,
    train_rows: int = 0,
    chunk_rows: int = 20_000,
) -> None:
    """Write a simulated train or test file and, apart from it, the true click probabilities.

    `parquet` gets the columns, types and marginal statistics of the real file, sequences of
    `mean_length` events on average. Train rows are sorted by their seven days; all test rows are of
    the day after, which is called day 7 as well. Users come back: in train 1.49 rows have the same
    sequence. For a test file, `train_rows` says how many rows the train file of the same seed has,
    since some of its users are theirs.

    `truth` gets, in the same order, `row` (train) or `ID` (test), `probability` and
    `probability_of_new_user`, which knows nothing of the user but what stands in the row. Each
    chunk is a row group with its own random stream, and memory does not grow with `rows`.
    """
    if split not in _SPLIT_CODE:
        raise UserError(f"split is {split!r}; it must be one of {', '.join(_SPLIT_CODE)}")
    if rows < 1 or chunk_rows < 1:
        raise UserError(f"rows ({rows}) and chunk_rows ({chunk_rows}) must be at least 1")
    if not 1.0 <= mean_length < 65_536.0:
        raise UserError(f"mean_length is {mean_length}; it must lie between 1 and 65,535 events")
    model = click_model(mean_length)
    with (
        written_beside(Path(parquet)) as data_part,
        written_beside(Path(truth)) as truth_part,
        pq.ParquetWriter(
            data_part, _schema(split), compression="zstd", use_dictionary=list(CATEGORIES)
        ) as data_writer,
        pq.ParquetWriter(truth_part, _truth_schema(split), compression="zstd") as truth_writer,
        progress("simulated", rows) as simulating,
    ):
        for chunk, first in enumerate(range(0, rows, chunk_rows)):
            count = min(chunk_rows, rows - first)
            rng = np.random.default_rng([seed, _SPLIT_CODE[split], chunk])
            if split == "train":
                users, day = train_users(seed, first, count), train_day(first, count, rows)
            else:
                users, day = (
                    test_users(seed, first, count, train_rows),
                    np.full(count, TEST_DAY, np.int8),
                )
            columns = draw_columns(rng, users, day)
            sequences = draw_sequences(users, mean_length)
            probability, of_new_user = model.probability(columns, sequences, users)
            arrays = columns.arrays() | {"seq": join_codes(sequences)}
            arrays |= {"probability": pa.array(probability), NEW_USER: pa.array(of_new_user)}
            if split == "train":
                arrays["row"] = pa.array(range(first, first + count), pa.int64())
                arrays["clicked"] = pa.array((rng.random(count) < probability).astype(np.int64))
            else:
                arrays["ID"] = pa.array([f"TEST_{i:07d}" for i in range(first, first + count)])
            for writer in (data_writer, truth_writer):
                writer.write_batch(pa.RecordBatch.from_pydict(arrays, writer.schema))
            simulating.advance(count)
    logger.info("%s: %s rows simulated", parquet, f"{rows:,}")


def _type(column: str) -> pa.DataType:
    if column == "clicked":
        return pa.int64()
    is_text = column in (*CATEGORIES, "seq", "ID")
    return pa.string() if is_text else pa.float32()


def _schema(split: Split) -> pa.Schema:
    names = train_columns() if split == "train" else test_columns()
    # The mark tells everything made from this file that it is simulated.
    return pa.schema([pa.field(name, _type(name)) for name in names], SIMULATED_MARK)


def _truth_schema(split: Split) -> pa.Schema:
    key = ("row", pa.int64()) if split == "train" else ("ID", pa.string())
    probabilities = [(name, pa.float64()) for name in ("probability", NEW_USER)]
    return pa.schema([key, *probabilities])
