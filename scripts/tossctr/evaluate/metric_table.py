"""Read validation predictions, and define the metrics that compare models.

valid_predictions.parquet has columns row int64, label uint8 and logit float32. Models and blends
add logit_ablated, the logit with empty histories. Blends add logit_best, the best model's logit.

Metrics that a training monitors are in common/logits.py, so a new metric here retrains nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common import logits
from ..common.errors import UserError
from ..common.logits import BALANCED, LabelledLogits, sigmoid
from ..common.parquet import metadata_of, read_table
from ..config.names import model_of_file, require_made_for

# Bins of the calibration error, with about equally many rows each.
CALIBRATION_BINS = 20


def read_predictions(path: Path, full_name: str = "") -> pa.Table:
    """Read a model's validation predictions, with `logit_ablated` and `logit_best` if it has them.

    Raises UserError if the predictions are of another model than `full_name`.
    """
    table = read_table(path, ("row", "label", "logit"), optional=("logit_ablated", "logit_best"))
    require_made_for(path, metadata_of(table).get("full_name", ""), full_name)
    return table


def read_same_rows(paths: Sequence[Path]) -> list[pa.Table]:
    """Read the validation predictions of several models; a model's name is its file's folder.

    Raises UserError if the files have different rows.
    """
    tables = [read_predictions(path, model_of_file(path)) for path in paths]
    for path, table in zip(paths, tables):
        if not table["row"].equals(tables[0]["row"]):
            raise UserError(
                f"{path}: not the same rows as {paths[0]}; delete both files and run the same "
                f"command again"
            )
    return tables


def calibration_error(rows: LabelledLogits) -> float:
    """The debiased calibration error: the root mean square of gaps, over bins of rows.

    A bin's gap is its mean prediction minus its click rate. The gap's square is reduced by the
    gap's estimated variance (Kumar, Liang & Ma, NeurIPS 2019). A bin with one row counts 0.
    """
    residual, bins = sigmoid(rows.logit) - rows.label, calibration_bins(rows.logit)
    count, weight = np.bincount(bins), np.bincount(bins, rows.weight)
    total = np.where(weight > 0, weight, 1.0)
    gap = np.bincount(bins, rows.weight * residual) / total
    spread = np.bincount(bins, (rows.weight * (residual - gap[bins])) ** 2) / total**2
    # A bootstrap resample doubles the gap's variance; its squared weights double `spread`, too.
    square = gap**2 - spread * count / np.maximum(count - 1, 1)
    return math.sqrt(max(0.0, float(weight @ np.where(count > 1, square, 0) / weight.sum())))


def calibration_bins(logit: np.ndarray) -> np.ndarray:
    """The index of each row's bin for the calibration error [rows]; equal logits share a bin."""
    edges = np.sort(logit)[np.arange(1, CALIBRATION_BINS) * len(logit) // CALIBRATION_BINS]
    return np.searchsorted(np.unique(edges), logit, side="right")


metrics_of = partial(logits.metrics_of, extra_metrics={"calibration_error": calibration_error})


@dataclass(frozen=True)
class Metric:
    """A measure of how good predictions are; `metrics_of` computes its value."""

    name: str  # in metrics.json, comparison.csv and the config
    sign: int  # 1 if higher is better, else -1
    heading: str  # in tables and plots
    digits: int
    meaning: str  # explanation for readers of the summary


# The first two depend only on the order of logits, not on the odds.
METRICS = (
    Metric("auc", 1, "AUC", 4, "area under the ROC curve"),
    Metric("average_precision", 1, "AP", 4, "average precision"),
    Metric("logloss", -1, "logloss", 5, "mean negative log likelihood, in nats"),
    Metric("weighted_logloss", -1, "WLL", 3, "logloss where clicks and negatives count half each"),
    Metric("score", 1, "score", 4, "the competition's formula, 0.5 AP + 0.5 / (1 + WLL)"),
    Metric(
        "calibration_error",
        -1,
        "calibration",
        4,
        f"root mean square of mean prediction minus click rate, over {CALIBRATION_BINS} bins of "
        f"equally many rows, corrected for noise",
    ),
)
# All metrics, including those at balanced odds, by name.
METRIC_BY_NAME = {metric.name: metric for metric in METRICS} | {
    f"{BALANCED}{metric.name}": replace(
        metric,
        name=f"{BALANCED}{metric.name}",
        heading=f"balanced {metric.heading}",
        meaning=f"{metric.meaning}, at 50:50 odds",
    )
    for metric in METRICS[2:]
}


def mean_metric(
    name: str, score: np.ndarray, probability: np.ndarray, click_rate: float = 0.5
) -> float:
    """The metric `name` of logits `score` [rows], with true click probabilities as soft labels.

    Each row counts as a click with the weight `probability` [rows], its true probability, and as a
    negative with 1 - `probability`. Only metrics at 50:50 odds need the train rows' `click_rate`.
    """
    label, weight = np.repeat([1, 0], len(score)), np.concatenate([probability, 1 - probability])
    return metrics_of([name], label, np.tile(score, 2), click_rate, weight)[0]
