"""Measure validation predictions, or scores of labelled files, overall and by slice."""

import logging
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import Output, scratch_dir, write_json
from ..common.logits import log_odds
from ..common.parquet import metadata_of, read_table
from ..config.columns import Columns
from ..config.declared import Delimiter
from ..datasets.categories import CategoryLookup
from ..datasets.conversion import convert_test
from ..datasets.draw import read_labels
from ..datasets.opening import open_table
from ..datasets.table import Table, reject_test_rows
from ..raw.location import table_locations
from ..raw.reading import RawTable
from .intervals import auc_interval, bootstrap, differences, has_enough_clicks, intervals
from .metric_table import METRIC_BY_NAME, mean_metric, metrics_of, read_predictions

logger = logging.getLogger(__name__)

# Maximum slices of a column: a column such as an ID has more values.
MAX_SLICES = 1_000

# Slices by history length start at these lengths.
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000)

_auc = partial(metrics_of, ["auc"])


def write_metrics(
    predictions: Path,
    valid: list[Path],
    metrics: Output,
    *,
    truth: Path | None = None,
    full_name: str = "",
) -> None:
    """Measure a model's validation predictions; writes metrics.json (see results/README.md).

    `valid` lists H5 files of the validation rows. `truth`, a parquet file, has the true click
    probabilities of simulated rows. Raises UserError if the predictions are of other rows than
    `valid`, or of another model than `full_name`, such as full/len150.
    """
    logits = read_predictions(predictions, full_name)
    with open_table(valid) as table:
        reject_test_rows(table)
        for name in ("row", "label"):
            if not np.array_equal(logits[name].to_numpy(), table.column(name)):
                raise UserError(
                    f"{predictions}: not the same rows as {table.path}; give files of the same "
                    f"rows. If the workflow made the file, delete it and run the same command again"
                )
        _measure(logits, table, metrics, full_name, truth)


def measure_scores(
    scores: Path,
    input: list[str],
    columns: Columns,
    metrics: Output,
    *,
    delimiter: Delimiter | None = None,
    threads: int = 1,
) -> None:
    """Measure predictions of raw tables that have labels; writes metrics.json.

    `scores` is the output of scoring the tables in `input`, in the same order. `columns` has the
    roles of the tables' columns. `delimiter` is that of CSV files; None: the file names decide.
    """
    files = [RawTable(table, columns=columns) for table in table_locations(input, delimiter)]
    label = np.concatenate([read_labels(file, columns.label) for file in files])
    scored = read_table(scores, ["probability"])
    about = metadata_of(scored)
    odds = log_odds(float(about["click_rate"])) if about["prior"] == "balanced" else 0
    # A probability rounded to 0 or 1 has no finite logit.
    low, high = np.finfo(np.float32).tiny, np.nextafter(np.float32(1), np.float32(0))
    probability = scored["probability"].to_numpy().clip(low, high).astype(np.float64)
    logit = (np.log(probability) - np.log1p(-probability) + odds).astype(np.float32)
    with scratch_dir(metrics) as folder:
        parts = [folder / f"{number}.h5" for number in range(len(files))]
        for file, h5 in zip(files, parts):
            convert_test(file.location, columns, h5, threads=threads)
        with open_table(parts) as table:
            row = table.column("row")
            logits = pa.table({"row": row, "label": label[row], "logit": logit[row]})
            _measure(logits.replace_schema_metadata(about), table, metrics, about["models"])


def _measure(
    logits: pa.Table, table: Table, metrics: Path, full_name: str, truth: Path | None = None
) -> None:
    """Write and log the metrics of `logits`, the predictions of the rows of `table`."""
    label, logit = (logits[name].to_numpy() for name in ("label", "logit"))
    metadata = metadata_of(logits)
    models = [logits[n].to_numpy() for n in ("logit", "logit_best") if n in logits.column_names]
    measure = partial(metrics_of, METRIC_BY_NAME, click_rate=float(metadata["click_rate"]))
    values, samples = bootstrap(label, models, measure)
    content: dict[str, Any] = {
        "rows": len(label),
        "clicks": int(label.sum()),
        "click_rate": float(label.mean()),
        "full_name": full_name,
        "simulated_data": table.source["simulated"],
        "enough_clicks": has_enough_clicks(label),
        "metrics": dict(zip(METRIC_BY_NAME, intervals(values[0], samples[:, 0]))),
        **dict.fromkeys(("auc_ablated", "histories", "best_model", "gain_over_best")),
        **dict.fromkeys(("expected_auc", "best_auc", "share_of_best")),
        "slices": {
            column: list(_slice_entries(index, names, label, logit))
            for column, index, names in _slices(table)
        },
    }
    if len(models) > 1:
        sign = np.array([metric.sign for metric in METRIC_BY_NAME.values()])
        gains = differences(sign * values, sign * samples)[1]
        content |= {
            "best_model": metadata["best"],
            "gain_over_best": dict(zip(METRIC_BY_NAME, gains)),
        }
    if table.sequence_columns and "logit_ablated" in logits.column_names:
        values, samples = bootstrap(label, [logit, logits["logit_ablated"].to_numpy()], _auc)
        (histories,) = differences(values, samples)[1]
        (ablated,) = intervals(values[1], samples[:, 1])
        content |= {"auc_ablated": ablated["value"], "histories": histories}
    if truth is not None:
        true = read_table(truth, ["probability"])["probability"].to_numpy()[logits["row"]]
        expected, best = (mean_metric("auc", score, true) for score in (logit, true))
        content |= {"expected_auc": expected, "best_auc": best}
        content["share_of_best"] = (expected - 0.5) / (best - 0.5)
    write_json(metrics, content)
    shown = ", ".join(
        f"{METRIC_BY_NAME[name].heading} {value:.5f}"
        for name in ("auc", "logloss")
        if (value := content["metrics"][name]["value"]) is not None
    )
    logger.info("%s rows, %d clicks: %s", f"{content['rows']:,}", content["clicks"], shown)


def _slices(table: Table) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """Yield slices of the rows: by each categorical column, and by length of the first history.

    Each item has the column's name, the index [rows] of each row's slice, and the slices' names.
    """
    for column, codes in zip(table.categorical_columns, table.column("categorical").T):
        # Slices are in the order of numbers, then words, then missing.
        vocabulary = pd.Series(table.vocabulary(column), dtype=object)
        words = vocabulary.sort_values(
            key=lambda words: pd.to_numeric(words, errors="coerce"), kind="stable"
        ).tolist()
        find = CategoryLookup(words, np.arange(len(words)), missing=len(words), other=len(words))
        yield column, find(codes), [*(word or "(empty)" for word in words), "(missing)"]
    for first in table.sequence_columns[:1]:
        lengths = np.concatenate([b.sequences[first].lengths for b in table.blocks([first])])
        names = [f"{a}" if a == b - 1 else f"{a}-{b - 1}" for a, b in pairwise(LENGTHS)]
        index = np.searchsorted(LENGTHS, lengths, side="right") - 1
        yield f"length of {first}", index, [*names, f"{LENGTHS[-1]}+"]


def _slice_entries(
    index: np.ndarray, names: list[str], label: np.ndarray, logit: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Yield rows, clicks and AUC of the MAX_SLICES largest slices, in the order of `names`."""
    slices = pd.Series(index).groupby(index).indices
    for i in sorted(sorted(slices, key=lambda i: -len(slices[i]))[:MAX_SLICES]):
        rows = slices[i]
        clicks, (auc,) = int(label[rows].sum()), _auc(label[rows], logit[rows])
        interval = auc_interval(float(auc), clicks, len(rows) - clicks)
        yield {"slice": names[i], "rows": len(rows), "clicks": clicks, "auc": interval}
