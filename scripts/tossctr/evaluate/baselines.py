"""Baselines: simple models with which the trained models are compared.

`constant` predicts the click rate of the train rows. `logistic_regression` is scikit-learn's, on
numeric columns, history lengths, and columns with few categories, fitted to the first train rows.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from ..common.errors import UserError
from ..common.files import Output, write_json
from ..common.logits import log_odds
from ..common.machine import peak_memory
from ..common.parquet import write_table
from ..common.prefetch import prefetch_map
from ..common.progress import Progress
from ..config.names import Baseline
from ..datasets.opening import open_table
from ..datasets.table import Block, Table
from ..features.encoding import FeatureEncoder, Inputs
from ..features.feature_map import MAX_CATEGORIES, FeatureMap, check_same_draw
from ..features.numeric import count_missing_blocks

logger = logging.getLogger(__name__)

# Maximum train rows, and maximum float32 values (1 GiB), of logistic regression.
MAX_ROWS = 1_000_000
MAX_VALUES = 1 << 28
# Inverse regularization strengths.
C_VALUES = (0.0001, 0.001, 0.01, 0.1, 1.0)
_ITERATIONS = 1_000
INPUTS = Inputs(numbers=("quantile", "missing"), statistics=("length",))


def fit_baseline(
    baseline: Baseline,
    train: list[Path],
    valid: list[Path],
    feature_map: Path,
    predictions: Output,
    training: Output,
    *,
    threads: int = 1,
    full_name: str = "",
) -> None:
    """Fit a baseline; write validation `predictions` (row, label, logit) and `training` (JSON).

    Logistic regression uses only the first rows of a large train table, which is shuffled. Raises
    UserError if all rows used have the same label.
    """
    # Log warnings, such as that a fit did not converge.
    logging.captureWarnings(True)
    fields = FeatureMap.read(feature_map)
    with open_table(train) as rows, open_table(valid) as table, threadpool_limits(threads):
        check_same_draw(fields, rows, table, full_name)
        inputs, started = InputColumns(fields), time.monotonic()
        max_rows = rows.rows
        if baseline == "logistic_regression":
            max_rows = min(max_rows, MAX_ROWS, MAX_VALUES // max(1, inputs.count))
        label = rows.column("label", 0, max_rows)
        if label.min() == label.max():
            raise UserError(
                f"{rows.path}: the first {len(label):,} rows all have label {label[0]}; a baseline "
                f"needs both labels, so raise the setting sizes.<size>.rows"
            )
        logit = np.full(table.rows, log_odds(label.mean()), np.float32)
        settings: dict[str, float] = {}
        if baseline == "logistic_regression" and not inputs.count:
            logger.warning("%s predicts one constant: it has no input columns", baseline)
        elif baseline == "logistic_regression":
            logit, settings["C"] = _logistic_regression(inputs, rows, label, table, threads)
        seconds = time.monotonic() - started
        logger.info(
            "%s: fitted to %s of %s train rows in %.1f s",
            *(baseline, f"{len(label):,}", f"{rows.rows:,}", seconds),
        )
        metadata = {"click_rate": repr(float(rows.column("label").mean())), "full_name": full_name}
        columns = {name: table.column(name) for name in ("row", "label")}
        write_table(pa.table({**columns, "logit": logit.astype(np.float32)}), predictions, metadata)
        facts = {
            "train_rows": len(label),
            "valid_rows": len(logit),
            "seconds": round(seconds, 3),
            "peak_memory_bytes": peak_memory(),
            "device": "cpu",
            "simulated_data": rows.source["simulated"],
            "settings": settings,
        }
    write_json(training, facts)


def _logistic_regression(
    inputs: "InputColumns", train: Table, label: np.ndarray, valid: Table, threads: int
) -> tuple[np.ndarray, float]:
    """The logits of the validation rows, and the C with the lowest logloss on these rows.

    The fit uses the first train rows, whose labels are `label`.
    """
    x, stop = np.empty((len(label), inputs.count), np.float32), 0
    for block in inputs.read(train, "read", threads, len(label)):
        start, stop = stop, stop + len(block)
        x[start:stop] = block
    # Each fit starts from the weights of the previous fit.
    model, fitted = LogisticRegression(max_iter=_ITERATIONS, warm_start=True), []
    for c in C_VALUES:
        model.set_params(C=c).fit(x, label)
        fitted.append(np.append(model.intercept_, model.coef_))
    weights = np.stack(fitted, axis=1).astype(np.float32)
    blocks = inputs.read(valid, "predicted", threads)
    logits = np.concatenate([x @ weights[1:] + weights[0] for x in blocks])
    # The log odds of the wrong label, [rows, C values].
    wrong = np.where(valid.column("label") == 1, -1, 1)[:, None] * logits.astype(np.float64)
    best = int(np.logaddexp(0, wrong).mean(axis=0).argmin())
    return logits[:, best], C_VALUES[best]


class InputColumns:
    """The input columns of logistic regression.

    These are ranks of numeric columns and history lengths (mean 0, standard deviation 1), flags of
    missing values, and one-hot encodings of columns with at most MAX_CATEGORIES categories.
    """

    def __init__(self, feature_map: FeatureMap) -> None:
        self.feature_map = feature_map
        sizes = [field.size for field in feature_map.category_fields]
        self.one_hot = [(i, size) for i, size in enumerate(sizes) if size <= MAX_CATEGORIES]
        numbers = INPUTS.numeric_fields(feature_map)
        self.count = len(numbers) + count_missing_blocks(numbers)
        self.count += sum(size for _, size in self.one_hot)

    def read(
        self, table: Table, what: str, threads: int, rows: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yield blocks float32 [rows, columns] of a table's first `rows` (None: all).

        `what` is the verb that the log uses for the progress, such as "read".
        """
        encoder = FeatureEncoder(self.feature_map, table, INPUTS)
        rows = table.rows if rows is None else rows

        def columns(block: Block) -> np.ndarray:
            encoded = encoder.encode(block)
            # Without targets, `encoded.target` has one column that is always missing.
            target = encoded.target[:, : len(self.feature_map.targets)]
            categories = np.concatenate([encoded.profile, target, encoded.context], axis=1)
            one_hot = [categories[:, [i]] == np.arange(size) for i, size in self.one_hot]
            return np.concatenate([*encoded.numbers.values(), *one_hot], axis=1, dtype=np.float32)

        progress = Progress(what, rows)
        for values in prefetch_map(columns, table.blocks(rows=rows), threads):
            progress.advance(len(values))
            yield values
