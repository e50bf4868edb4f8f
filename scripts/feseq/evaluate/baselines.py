"""Baselines beside FESeq: models of scikit-learn on the same rows, columns and split.

`constant`: the click rate of the train rows. `logistic_regression`: on all columns of `features`.
"""

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from ..common.errors import UserError
from ..common.files import write_json
from ..common.memory import peak_memory
from ..common.progress import progress
from ..config.names import BASELINES
from ..dataset.feature_map import FeatureMap, check_one_draw
from ..dataset.mixed import Files, open_files
from ..dataset.store import H5Table
from .tabular import Features
from .valid_predictions import write_logits

logger = logging.getLogger(__name__)

_LOGISTIC = {"C": 1.0, "max_iter": 1000}


class _Classifier(Protocol):
    """The methods that all models have; `decision_function` gives log odds, which stay finite."""

    def fit(self, features: np.ndarray, label: np.ndarray) -> Any: ...

    def decision_function(self, features: np.ndarray) -> np.ndarray: ...


class _Constant:
    """The click rate for every row."""

    def fit(self, features: np.ndarray, label: np.ndarray) -> None:
        # At least half a click, at most half a row without one: odds of 0 and 1 are infinite.
        rate = np.clip(label.mean(), 0.5 / len(label), 1 - 0.5 / len(label))
        self.logit = np.log(rate / (1 - rate))

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        return np.full(len(features), self.logit)


def fit_baseline(
    baseline: str,
    train_h5: Files,
    valid_h5: Files,
    feature_map_json: Path,
    predictions: Path,
    training: Path,
    *,
    rows_at_most: int,
    threads: int = 1,
    full_name: str = "",
) -> None:
    """Fit the baseline of that name and predict the validation rows.

    Writes `predictions` (parquet: row int64, label uint8, judges bool, logit float32) and
    `training` (JSON).
    Its `seconds` are for reading and fitting. scikit-learn wants all rows in memory, so only the
    first `rows_at_most` train rows are used; the file is shuffled.
    """
    if baseline not in BASELINES:
        raise UserError(f"there is no baseline {baseline!r}, only {', '.join(BASELINES)}")
    feature_map = FeatureMap.read(feature_map_json)
    with (
        open_files(train_h5) as train,
        open_files(valid_h5) as valid,
        threadpool_limits(threads),
    ):
        check_one_draw(feature_map, train, valid, full_name)
        if train.source["simulated"]:
            logger.warning("fitting to SIMULATED data: this model knows nothing of real clicks")
        rows = _rows_used(train, rows_at_most)
        started = time.monotonic()
        label = train.column("label", 0, rows)
        _check_both_labels(label, train.path)
        features = None
        if baseline != "constant":
            features = Features(feature_map, train, rows, threads=threads)
        model, settings = _model(features)
        with _warnings_logged(baseline):
            model.fit(_matrix(features, train, rows), label)
        seconds = time.monotonic() - started
        logger.info("%s: fitted to %s rows in %.1f s", baseline, f"{rows:,}", seconds)
        started = time.monotonic()
        click_rate = float(train.column("label").mean())
        marks = {"click_rate": repr(click_rate), "full_name": full_name}
        _write_predictions(predictions, model, features, valid, marks)
        about = {
            "train_rows": rows,
            "valid_rows": valid.rows,
            "seconds": round(seconds, 3),
            "samples_per_second": round(rows / seconds, 1),
            "predict_samples_per_second": round(valid.rows / (time.monotonic() - started), 1),
            "peak_memory_bytes": peak_memory(),
            "device": "cpu",
            "simulated_data": train.source["simulated"],
            "settings": settings,
        }
    write_json(training, about)


def _rows_used(train: H5Table, rows_at_most: int) -> int:
    if train.rows > rows_at_most:
        logger.warning(
            "%s: only the first %s of %s train rows are used (evaluation.baseline_rows), since "
            "scikit-learn holds them all in memory",
            train.path,
            f"{rows_at_most:,}",
            f"{train.rows:,}",
        )
    return min(train.rows, rows_at_most)


def _check_both_labels(label: np.ndarray, path: Path) -> None:
    if label.min() == label.max():
        raise UserError(
            f"{path}: label {label[0]} in all of the first {len(label):,} rows, from which nothing "
            f"can be learned; raise evaluation.baseline_rows"
        )


def _matrix(features: Features | None, train: H5Table, rows: int) -> np.ndarray:
    return np.empty((rows, 0)) if features is None else features.matrix(train, rows)


def _model(features: Features | None) -> tuple[_Classifier, dict[str, Any]]:
    """The model, not yet fitted, and its settings."""
    if features is None:
        return _Constant(), {}
    # A category not seen in training counts as none.
    one_hot = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
    scale = StandardScaler()
    categories = ("categories", one_hot, list(range(features.categorical)))
    columns = ColumnTransformer([categories], remainder=scale)
    return make_pipeline(columns, LogisticRegression(**_LOGISTIC)), dict(_LOGISTIC)


def _write_predictions(
    path: Path,
    model: _Classifier,
    features: Features | None,
    valid: H5Table,
    marks: Mapping[str, str],
) -> None:
    """Rows are read, and predicted, block by block."""
    blocks = (
        features.blocks(valid, valid.rows) if features is not None else [np.empty((valid.rows, 0))]
    )
    logits = []
    with progress("predicted", valid.rows) as predicting:
        for block in blocks:
            logits.append(model.decision_function(block).astype(np.float32))
            predicting.advance(len(block))
    write_logits(path, valid, {"logit": np.concatenate(logits)}, marks)


@contextmanager
def _warnings_logged(baseline: str) -> Iterator[None]:
    """Python's warnings, such as that a fit did not converge, as lines of the log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        logger.warning("%s: %s", baseline, " ".join(text.split()))
