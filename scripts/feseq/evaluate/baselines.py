"""Baselines: simpler models, fitted to the same rows.

`constant`: the click rate of the train rows. `logistic_regression`: scikit-learn's, of all columns.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from threadpoolctl import threadpool_limits

from ..common.ahead import map_ahead
from ..common.errors import UserError
from ..common.files import write_json
from ..common.logits import log_odds
from ..common.memory import peak_memory
from ..common.progress import progress
from ..common.ragged import Ragged
from ..config.names import BASELINES
from ..dataset.block import Block
from ..dataset.encoding import DEFAULT_INPUTS
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.inputs import InputEncoder
from ..dataset.opening import open_table
from ..dataset.table import Table
from .valid_predictions import write_logits

logger = logging.getLogger(__name__)

# Train rows at most, since scikit-learn holds them all in memory, and events of a history.
ROWS_AT_MOST = 1_000_000
NEWEST = 150
BLOCK_ROWS = 8_192
_LOGISTIC = {"C": 1.0, "max_iter": 1000}


def fit_baseline(
    baseline: str,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    predictions: Path,
    training: Path,
    *,
    threads: int = 1,
    full_name: str = "",
) -> None:
    """Fit the baseline of that name and predict the validation rows.

    Writes `predictions` (see `write_logits`) and `training` (JSON), whose `seconds` are for reading
    and fitting. Of many train rows the first are used; the file is shuffled.
    """
    if baseline not in BASELINES:
        raise UserError(f"there is no baseline {baseline!r}, only {', '.join(BASELINES)}")
    # Warnings, such as that a fit did not converge.
    logging.captureWarnings(True)
    mapped = FeatureMap.read(feature_map)
    with (
        open_table(train) as rows,
        open_table(valid) as others,
        threadpool_limits(threads),
    ):
        check_one_draw(mapped, rows, others, full_name)
        if rows.source["simulated"]:
            logger.warning("fitting to SIMULATED data: this model knows nothing of real clicks")
        used = min(rows.rows, ROWS_AT_MOST)
        if used < rows.rows:
            text = f"{used:,} of {rows.rows:,}"
            logger.warning("%s: only the first %s train rows are used", rows.path, text)
        started = time.monotonic()
        label = rows.column("label", 0, used)
        if label.min() == label.max():
            raise UserError(
                f"{rows.path}: label {label[0]} in all of the first {used:,} rows, from which "
                f"nothing can be learned"
            )
        if baseline == "constant":
            logit = np.full(others.rows, log_odds(label.mean()), np.float32)
            fitted = predicted = time.monotonic()
        else:
            model = make_pipeline(MaxAbsScaler(), LogisticRegression(**_LOGISTIC))
            blocks = list(_inputs(mapped, rows, used, "read", threads))
            model.fit(sparse.vstack(blocks, format="csr"), label)
            fitted = time.monotonic()
            inputs = _inputs(mapped, others, others.rows, "predicted", threads)
            logit = np.concatenate([model.decision_function(block) for block in inputs])
            predicted = time.monotonic()
        seconds = fitted - started
        logger.info("%s: fitted to %s rows in %.1f s", baseline, f"{used:,}", seconds)
        about = {"click_rate": repr(float(rows.column("label").mean())), "full_name": full_name}
        write_logits(predictions, others, {"logit": logit.astype(np.float32)}, about)
        found = {
            "train_rows": used,
            "valid_rows": others.rows,
            "seconds": round(seconds, 3),
            "samples_per_second": round(used / max(seconds, 1e-3), 1),
            "predict_samples_per_second": round(others.rows / max(predicted - fitted, 1e-3), 1),
            "peak_memory_bytes": peak_memory(),
            "device": "cpu",
            "simulated_data": rows.source["simulated"],
            "settings": {} if baseline == "constant" else _LOGISTIC,
        }
    write_json(training, found)


def _inputs(
    feature_map: FeatureMap, table: Table, rows: int, what: str, threads: int
) -> Iterator[sparse.csr_array]:
    """The first `rows` rows as float32 [rows of a block, columns], block by block.

    The columns: a row's categories one-hot, its numeric values in [0, 1], and for each code of each
    history what `code_counts` says.
    """
    encoder = InputEncoder(feature_map, table)
    fields = [
        *feature_map.profile,
        *feature_map.targets,
        *DEFAULT_INPUTS.context_fields(feature_map),
    ]
    starts = np.cumsum([0, *(field.size for field in fields)])

    def columns(block: Block) -> sparse.csr_array:
        places = encoder.categories(block) + starts[:-1]
        ends = np.arange(len(block) + 1) * len(fields)
        ones = np.ones(places.size, np.float32)
        parts = [sparse.csr_array((ones, places.ravel(), ends), (len(block), starts[-1]))]
        parts += [sparse.csr_array(encoder.encode(block, np.arange(len(block))).numbers["minmax"])]
        for field, lookup in zip(feature_map.sequences, encoder.sequences):
            events = block.sequences[field.column].take(np.arange(len(block)), NEWEST)
            parts += code_counts(Ragged(lookup(events.values), events.offsets), field.size)
        return sparse.hstack(parts, format="csr", dtype=np.float32)

    starts_of_blocks = range(0, rows, BLOCK_ROWS)
    blocks = (table.read(start, min(start + BLOCK_ROWS, rows)) for start in starts_of_blocks)
    with progress(what, rows) as reading:
        for made in map_ahead(columns, blocks, threads):
            reading.advance(made.shape[0])
            yield made


def code_counts(history: Ragged, size: int) -> tuple[sparse.csr_array, sparse.csr_array]:
    """How often each code is in a history, log(1 + count), and how recently; both [rows, size].

    Recently: the sum of 1 / (events from an occurrence to the end, itself included).

        history [[7, 8, 7], []]:   code 7 has log 3 and 1/1 + 1/3, code 8 has log 2 and 1/2
    """
    shape = (len(history), size)
    left = np.repeat(history.offsets[1:], history.lengths) - np.arange(len(history.values))
    # Rows of different length are what CSR is.
    count, recency = (
        sparse.csr_array((weight, history.values, history.offsets), shape, copy=True)
        for weight in (np.ones(len(left)), 1 / left)
    )
    count.sum_duplicates()
    recency.sum_duplicates()
    return count.log1p(), recency
