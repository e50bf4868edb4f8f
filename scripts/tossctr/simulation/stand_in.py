"""Writes the files of the simulated stand-in chunk by chunk, with bounded memory."""

import logging
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..common.files import Output, atomic_write
from ..common.parquet import SIMULATED_MARK
from ..common.progress import Progress
from .click_model import click_logit, draw_rows, mean_click_probability, user_effect
from .sequences import join_codes
from .simulated_columns import CATEGORIES, TEST_DAY, as_arrow, day_of
from .statistics import load_statistics, logistic
from .users import test_users, train_users

logger = logging.getLogger(__name__)

_TYPES = {
    **dict.fromkeys((*CATEGORIES, "seq", "ID"), pa.string()),
    **dict.fromkeys(("clicked", "row"), pa.int64()),
    **dict.fromkeys(("probability", "probability_of_new_user"), pa.float64()),
}


def simulate_split(
    parquet: Output,
    truth: Output,
    *,
    split: Literal["train", "test"],
    rows: int,
    mean_length: float,
    seed: int = 7,
    train_rows: int = 0,
    chunk_rows: int = 20_000,
) -> None:
    """Write a simulated train or test file, and the true click probabilities of its rows.

    The file `parquet` gets `rows` rows, with the columns and types of the real file. Train rows are
    sorted by their seven days. All test rows are of the next day, which has the `day_of_week` of
    the last train day. A history has `mean_length` events on average. Some test users are users of
    the train file that has the same seed and `train_rows` rows.

    The file `truth` has the columns `row` (train) or `ID` (test), `probability`, and
    `probability_of_new_user`, its mean over all users. Rows are drawn in chunks of `chunk_rows`.
    """
    is_train = split == "train"
    names = load_statistics()["column_order"]
    names = names if is_train else ["ID", *(name for name in names if name != "clicked")]
    # Marks the file, and all results computed from it, as simulated.
    schema = _schema(*names).with_metadata(SIMULATED_MARK)
    truth_names = ("row" if is_train else "ID", "probability", "probability_of_new_user")
    truth_schema = _schema(*truth_names)
    simulating = Progress("simulated", rows)
    with (
        atomic_write(parquet) as data_part,
        atomic_write(truth) as truth_part,
        pq.ParquetWriter(
            data_part, schema, compression="zstd", use_dictionary=list(CATEGORIES)
        ) as data_writer,
        pq.ParquetWriter(truth_part, truth_schema, compression="zstd") as truth_writer,
    ):
        for chunk, first in enumerate(range(0, rows, chunk_rows)):
            row = np.arange(first, min(first + chunk_rows, rows))
            rng = np.random.default_rng([seed, not is_train, chunk])
            users = train_users(seed, row) if is_train else test_users(seed, row, train_rows)
            day = day_of(row, rows) if is_train else np.full(len(row), TEST_DAY, np.int8)
            simulated = draw_rows(rng, users, day, mean_length)
            logit = click_logit(simulated)
            probability = logistic(logit + user_effect(users))
            drawn: dict[str, Any] = {
                **as_arrow(simulated.columns),
                "seq": join_codes(simulated.sequences),
                "probability": probability,
                "probability_of_new_user": mean_click_probability(logit),
                "row": row,
                "ID": [f"TEST_{i:07d}" for i in row],
            }
            if is_train:
                drawn["clicked"] = (rng.random(len(row)) < probability).astype(np.int64)
            for writer in (data_writer, truth_writer):
                writer.write_batch(pa.RecordBatch.from_pydict(drawn, writer.schema))
            simulating.advance(len(row))
    logger.info("%s: %s rows simulated", parquet, f"{rows:,}")


def _schema(*columns: str) -> pa.Schema:
    return pa.schema([(name, _TYPES.get(name, pa.float32())) for name in columns])
