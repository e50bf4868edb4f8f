"""Metrics of validation predictions, and of scores of labelled files, with intervals and slices."""

import logging
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import Output, folder_beside, write_json
from ..common.logits import log_odds
from ..common.parquet import metadata_of, read_table
from ..config.columns import Columns
from ..config.declared import Delimiter
from ..datasets.categories import ByCode, commonest
from ..datasets.conversion import convert_test
from ..datasets.draw import read_labels
from ..datasets.opening import TableSource, open_table
from ..datasets.table import Table, require_drawn
from ..raw.location import tables_of
from ..raw.reading import RawTable
from .delong import Auc, correct_together
from .intervals import RESAMPLES, gain_entries, metric_entries
from .metric_table import expected_metric
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)

# Values of a column, such as IDs, that have metrics.
MOST_SLICES = 1_000

# A slice has the histories from one of these lengths up to the next.
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000)


def measure_predictions(
    predictions: Path,
    valid: TableSource,
    truth: Path | None,
    *,
    resamples: int = RESAMPLES,
    full_name: str = "",
) -> dict[str, Any]:
    """All metrics of a model's predictions of the validation rows, see `_measured`.

    `truth` has the true probabilities of a simulated file. Raises UserError if the predictions are
    of other rows, or not of the model with this `full_name`.
    """
    logits = read_predictions(predictions, full_name)
    with open_table(valid) as table:
        require_drawn(table)
        for name in ("row", "label"):
            if not np.array_equal(logits[name].to_numpy(), table.column(name)):
                raise UserError(
                    f"{predictions}: has other rows than {table.path}; take files of the same rows "
                    f"or, where the workflow made it, delete it and run the same command again"
                )
        return _measured(logits, table, truth, resamples, full_name)


def _measured(
    logits: pa.Table, table: Table, truth: Path | None, resamples: int, full_name: str
) -> dict[str, Any]:
    """All metrics of `logits`, which has the rows of `table`; see results/README.md."""
    label, logit = (logits[name].to_numpy() for name in ("label", "logit"))
    metadata, auc = metadata_of(logits), Auc.of(label, logit)
    click_rate = float(metadata["click_rate"])
    content: dict[str, Any] = {
        "rows": len(label),
        "clicks": int(label.sum()),
        "click_rate": float(label.mean()),
        "full_name": full_name,
        "simulated_data": table.source["simulated"],
        "enough_clicks": auc.enough,
        "metrics": {"auc": auc.entry(), **metric_entries(label, logit, click_rate, resamples)},
        **dict.fromkeys(("auc_ablated", "histories", "best_model", "gain_over_best")),
        **_learnable(logits, truth),
        "slices": _slice_entries(table, label, logit, auc),
    }
    if table.sequence_columns and "logit_ablated" in logits.column_names:
        ablated = Auc.of(label, logits["logit_ablated"].to_numpy())
        content |= {"auc_ablated": ablated.entry()["value"], "histories": auc.minus(ablated)}
    if "logit_best" in logits.column_names:
        best = logits["logit_best"].to_numpy()
        gains = gain_entries(label, logit, best, click_rate, resamples)
        content |= {"best_model": metadata["best"], "gain_over_best": gains}
    return content


def write_metrics(
    predictions: Path,
    valid: list[Path],
    metrics: Output,
    *,
    truth: Path | None = None,
    full_name: str = "",
) -> None:
    """Write the result of `measure_predictions` as JSON, and log the metrics."""
    _write(measure_predictions(predictions, valid, truth, full_name=full_name), metrics)


def measure_scores(
    scores: Path,
    input: list[str],
    columns: Columns,
    metrics: Output,
    *,
    delimiter: Delimiter | None = None,
    threads: int = 1,
) -> None:
    """Write the metrics of the labelled rows of `input` by their `scores`, as JSON; log them."""
    files = [RawTable(table, columns=columns) for table in tables_of(input, delimiter)]
    label = np.concatenate([read_labels(file, columns.label) for file in files])
    scored = read_table(scores, ["probability"])
    about = metadata_of(scored)
    odds = log_odds(float(about["click_rate"])) if about["prior"] == "balanced" else 0
    # Rounded to 0 or 1, a probability has no logit.
    least, most = np.finfo(np.float32).tiny, np.nextafter(np.float32(1), np.float32(0))
    probability = scored["probability"].to_numpy().clip(least, most).astype(np.float64)
    logit = (np.log(probability) - np.log1p(-probability) + odds).astype(np.float32)
    with folder_beside(metrics) as folder:
        parts = [folder / f"{number}.h5" for number in range(len(files))]
        for file, h5 in zip(files, parts):
            convert_test(file.location, columns, h5, threads=threads)
        with open_table(parts) as table:
            row = table.column("row")
            logits = pa.table({"row": row, "label": label[row], "logit": logit[row]})
            logits = logits.replace_schema_metadata(about)
            _write(_measured(logits, table, None, RESAMPLES, about["models"]), metrics)


def _write(content: Mapping[str, Any], metrics: Path) -> None:
    write_json(metrics, content)
    shown = ", ".join(
        f"{name} {entry['value']:.5f}"
        for name, entry in content["metrics"].items()
        if entry["value"] is not None
    )
    logger.info("%s rows, %d clicks: %s", f"{content['rows']:,}", content["clicks"], shown)


def _learnable(logits: pa.Table, truth: Path | None) -> dict[str, float | None]:
    """How much a model learned of what can be learned from simulated data.

    The true probabilities measure it without the noise of the labels, so the share is at most 1,
    however few the clicks.
    """
    names = ("expected_auc", "best_auc", "best_auc_of_new_users", "share_of_best")
    if truth is None:
        return dict.fromkeys(names)
    table = read_table(truth, ["probability", "probability_of_new_user"])
    true, of_new_user = (table[name].to_numpy()[logits["row"]] for name in table.column_names)
    scores = (logits["logit"].to_numpy(), true, of_new_user)
    aucs = [expected_metric("auc", score, true) for score in scores]
    return dict(zip(names, [*aucs, (aucs[0] - 0.5) / (aucs[1] - 0.5)]))


def _slices(table: Table) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Each row's slice by each categorical column, and by its history's length.

    A slice is a place in the list of names; -1 for rows whose value is not among a column's
    MOST_SLICES most frequent ones.
    """
    slices = {}
    for column, codes in zip(table.categorical_columns, table.column("categorical").T):
        # Numbers first, in their order, then words, then missing.
        words = sorted(table.vocabulary(column), key=_by_number)
        names = [*(word or "(empty)" for word in words), "(missing)"]
        places = ByCode(words, np.arange(len(words)), missing=len(words), other=len(words))(codes)
        frequent = commonest(np.bincount(places, minlength=len(names)), MOST_SLICES)
        slices[column] = np.where(np.isin(places, frequent), places, -1), names
    for first in table.sequence_columns[:1]:
        lengths = np.concatenate([b.sequences[first].lengths for b in table.blocks([first])])
        names = [f"{a}" if a == b - 1 else f"{a}-{b - 1}" for a, b in pairwise(LENGTHS)]
        places = np.searchsorted(LENGTHS, lengths, side="right") - 1
        slices.setdefault(f"length of {first}", (places, [*names, f"{LENGTHS[-1]}+"]))
    return slices


def _by_number(word: str) -> tuple[float, str]:
    number = pd.to_numeric(word, errors="coerce")
    return (np.inf if np.isnan(number) else float(number)), word


def _slice_entries(
    table: Table, label: np.ndarray, logit: np.ndarray, whole: Auc
) -> dict[str, list[dict[str, Any]]]:
    """Rows, clicks and AUC of each slice that has rows, by column.

    `auc_difference` is the slice's AUC minus `whole`, that of all rows. Both are None if the slice
    has one class. The p-values of all slices of all columns are corrected together.
    """
    by_column: dict[str, list[dict[str, Any]]] = {}
    for column, (places, names) in _slices(table).items():
        by_column[column] = []
        for place, rows in pd.Series(places).groupby(places).indices.items():
            if place < 0:
                continue
            auc = Auc.of(label[rows], logit[rows])
            known = not np.isnan(auc.value)
            entry = {"slice": names[place], "rows": len(rows), "clicks": int(label[rows].sum())}
            entry["auc"] = auc.entry() if known else None
            entry["auc_difference"] = auc.minus(whole, rows) if known else None
            by_column[column].append(entry)
    differences = (entry["auc_difference"] for column in by_column.values() for entry in column)
    correct_together([difference for difference in differences if difference])
    return by_column
