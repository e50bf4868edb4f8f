"""Writing the stand-in: chunk by chunk, so that memory does not grow with the number of rows."""

import logging
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..common.errors import UserError
from ..common.files import Output, written_beside
from ..common.parquet import SIMULATED_MARK, signed
from ..common.progress import Progress
from .clicks import click_model, mean_over_users, user_part
from .columns import CATEGORIES, TEST_DAY, as_arrow, draw_columns, train_day
from .sequences import draw_sequences, join_codes
from .statistics import load_statistics, logistic
from .users import test_users, train_users

logger = logging.getLogger(__name__)

_PROBABILITIES = ("probability", "probability_of_new_user")
_TYPES = {
    **dict.fromkeys((*CATEGORIES, "seq", "ID"), pa.string()),
    **dict.fromkeys(("clicked", "row"), pa.int64()),
    **dict.fromkeys(_PROBABILITIES, pa.float64()),
}


def simulate_split(
    parquet: Output,
    truth: Output,
    *,
    split: Literal["train", "test"],
    rows: int,
    mean_length: float,
    seed: int,
    train_rows: int = 0,
    chunk_rows: int = 20_000,
) -> None:
    """Write a simulated train or test file and, apart from it, the true click probabilities.

    `parquet` has the columns and types of the real file. Train rows are sorted by their seven days;
    all test rows are of the day after, which is called day 7 as well. `train_rows` says how many
    rows the train file of the same seed has, since some users of a test file are theirs.

    `truth` gets, in the same order, `row` (train) or `ID` (test), `probability` and
    `probability_of_new_user`, which knows nothing of the user but what stands in the row. Each
    chunk is a row group with its own random stream.
    """
    if not 5 <= mean_length <= 5_000:
        raise UserError(f"mean_length {mean_length}: give 5 to 5,000 events")
    is_train = split == "train"
    model = click_model(mean_length)
    names = load_statistics()["column_order"]
    names = names if is_train else ["ID", *(name for name in names if name != "clicked")]
    # The mark tells everything made from this file that it is simulated.
    schema = pa.schema(map(_field, names), SIMULATED_MARK)
    truth_names = ["row" if is_train else "ID", *_PROBABILITIES]
    truth_schema = signed(pa.schema(map(_field, truth_names)), rows)
    simulating = Progress("simulated", rows)
    with (
        written_beside(parquet) as data_part,
        written_beside(truth) as truth_part,
        pq.ParquetWriter(
            data_part, schema, compression="zstd", use_dictionary=list(CATEGORIES)
        ) as data_writer,
        pq.ParquetWriter(truth_part, truth_schema, compression="zstd") as truth_writer,
    ):
        for chunk, first in enumerate(range(0, rows, chunk_rows)):
            count = min(chunk_rows, rows - first)
            rng = np.random.default_rng([seed, not is_train, chunk])
            if is_train:
                users, day = train_users(seed, first, count), train_day(first, count, rows)
            else:
                users = test_users(seed, first, count, train_rows)
                day = np.full(count, TEST_DAY, np.int8)
            columns, sequences = draw_columns(rng, users, day), draw_sequences(users, mean_length)
            logit = model.logit(columns, sequences)
            probabilities = logistic(logit + user_part(users)), mean_over_users(logit)
            arrays = as_arrow(columns) | {"seq": join_codes(sequences)}
            arrays |= dict(zip(_PROBABILITIES, map(pa.array, probabilities)))
            if is_train:
                clicked = rng.random(count) < probabilities[0]
                arrays["clicked"] = pa.array(clicked.astype(np.int64))
                arrays["row"] = pa.array(np.arange(first, first + count))
            else:
                arrays["ID"] = pa.array([f"TEST_{i:07d}" for i in range(first, first + count)])
            for writer in (data_writer, truth_writer):
                writer.write_batch(pa.RecordBatch.from_pydict(arrays, writer.schema))
            simulating.advance(count)
    logger.info("%s: %s rows simulated", parquet, f"{rows:,}")


def _field(column: str) -> pa.Field:
    return pa.field(column, _TYPES.get(column, pa.float32()))
