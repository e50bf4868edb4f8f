"""The rule `measure`: metrics of validation predictions with intervals, also by slice."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import Output, write_json
from ..common.parquet import metadata_of, read_table
from ..storage.categories import ByCode
from ..storage.opening import TableSource, open_table
from ..storage.table import Table, require_drawn
from .delong import CONFIDENCE, Auc, correct_together
from .intervals import RESAMPLES, gain_entries, metric_entries
from .metrics import Predictions, expected_auc
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)

# Histories of these lengths and more, up to the next, are a slice.
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000)


def measure_predictions(
    predictions: Path,
    rows: TableSource,
    truth: Path | None,
    *,
    resamples: int = RESAMPLES,
    full_name: str = "",
) -> dict[str, Any]:
    """All metrics of one model's predictions of `rows`; see results/README.md.

    `rows` are those that metrics are reported on.
    `truth` holds the true probabilities of a simulated file. Raises UserError if the predictions
    are of other rows, or not of the model with this `full_name`.
    """
    with open_table(rows) as table:
        require_drawn(table)
        simulated, has_histories = table.source["simulated"], bool(table.sequence_columns)
        row, label = table.column("row"), table.column("label")
        slices = _slices(table)
    read = read_predictions(predictions, full_name=full_name)
    if not all(np.array_equal(read[n].to_numpy(), x) for n, x in (("row", row), ("label", label))):
        raise UserError(
            f"{predictions}: has other rows than {table.path}; take files of the same rows or, "
            f"where the workflow made it, delete it and run the same command again"
        )
    logit, about = read["logit"].to_numpy(), metadata_of(read)
    auc, scored = Auc.of(label, logit), Predictions.of(label, logit, float(about["click_rate"]))
    metrics = metric_entries(scored, auc, resamples)
    found: dict[str, Any] = {
        "rows": len(label),
        "clicks": int(label.sum()),
        "click_rate": float(label.mean()),
        "on_holdout": bool(read["holdout"].to_numpy().any()),
        "full_name": full_name,
        "simulated_data": simulated,
        "bootstrap": resamples,
        "confidence": CONFIDENCE,
        "enough_clicks": auc.enough,
        "score_gain": metrics.pop("score_gain"),
        "metrics": metrics,
        **dict.fromkeys(("auc_ablated", "histories", "best_model", "gain_over_best")),
        **_learnable(read, truth),
        "slices": _slice_entries(slices, label, logit, auc),
    }
    if has_histories and "logit_ablated" in read.column_names:
        blanked = Auc.of(label, read["logit_ablated"].to_numpy())
        found |= {"auc_ablated": blanked.entry()["value"], "histories": auc.minus(blanked)}
    if "logit_best" in read.column_names:
        best = read["logit_best"].to_numpy()
        others = Predictions.of(label, best, float(about["click_rate"]))
        gains = gain_entries(scored, others, auc.minus(Auc.of(label, best)), resamples)
        found |= {"best_model": about["best"], "gain_over_best": gains}
    return found


def write_metrics(
    predictions: Path,
    rows: list[Path],
    metrics: Output,
    *,
    truth: Path | None = None,
    full_name: str = "",
) -> None:
    """Write what `measure_predictions` finds as JSON, and the metrics to the log."""
    found = measure_predictions(predictions, rows, truth, full_name=full_name)
    write_json(metrics, found)
    shown = ", ".join(
        f"{name} {of['value']:.5f}"
        for name, of in found["metrics"].items()
        if of["value"] is not None
    )
    logger.info("%s rows, %d clicks: %s", f"{found['rows']:,}", found["clicks"], shown)


def _learnable(read: pa.Table, truth: Path | None) -> dict[str, float | None]:
    """The share of what can be learned from simulated data that a model learned.

    The true probabilities measure it, without the noise of the labels: the share is at most 1,
    however few the clicks.
    """
    names = ("expected_auc", "best_auc", "best_auc_of_new_users", "share_of_best")
    if truth is None:
        return dict.fromkeys(names)
    known = read_table(truth, ["probability", "probability_of_new_user"])
    true, of_new_user = (known[name].to_numpy()[read["row"]] for name in known.column_names)
    aucs = [expected_auc(score, true) for score in (read["logit"].to_numpy(), true, of_new_user)]
    return dict(zip(names, [*aucs, (aucs[0] - 0.5) / (aucs[1] - 0.5)]))


def _slices(table: Table) -> pd.DataFrame:
    """The slice that each row is in: by each categorical column, and by its history's length."""
    slices = {}
    for column, codes in zip(table.categorical_columns, table.column("categorical").T):
        # Numbers by their size, then words, missing last.
        words = sorted(table.vocabulary(column), key=_by_number)
        place = ByCode(words, np.arange(len(words)), missing=len(words), other=len(words))
        empty, missing = (_apart_from(words, name) for name in ("(empty)", "(missing)"))
        names = pd.Index([*(word or empty for word in words), missing])
        slices[column] = pd.Categorical.from_codes(place(codes), names, ordered=True)
    for first in table.sequence_columns[:1]:
        lengths = np.concatenate([b.sequences[first].lengths for b in table.blocks([first])])
        names = [f"{a}" if a == b - 1 else f"{a}-{b - 1}" for a, b in pairwise(LENGTHS)]
        bins = [*LENGTHS, np.inf]
        names = [*names, f"{LENGTHS[-1]}+"]
        name = _apart_from(table.categorical_columns, f"length of {first}")
        slices[name] = pd.cut(lengths, bins, right=False, labels=names)
    return pd.DataFrame(slices, index=range(table.rows))


def _apart_from(others: Sequence[str], name: str) -> str:
    """The name, or one like it that is none of the others."""
    return name if name not in others else _apart_from(others, f"{name}'")


def _by_number(word: str) -> tuple[float, str]:
    number = pd.to_numeric(word, errors="coerce")
    return (np.inf if np.isnan(number) else float(number)), word


def _slice_entries(
    slices: pd.DataFrame, label: np.ndarray, logit: np.ndarray, whole: Auc
) -> dict[str, list[dict[str, Any]]]:
    """Rows, clicks and AUC of each slice that has rows, by column.

    `auc_difference` is its AUC less `whole`, that of all rows; both are None where a slice has one
    class. The p-values of all slices of all columns are corrected together.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for column, names in slices.items():
        found[str(column)] = []
        for name, rows in names.groupby(names, observed=True).indices.items():
            auc = Auc.of(label[rows], logit[rows])
            known = not np.isnan(auc.value)
            entry = {"slice": name, "rows": len(rows), "clicks": int(label[rows].sum())}
            entry["auc"] = auc.entry() if known else None
            entry["auc_difference"] = auc.minus(whole, rows) if known else None
            found[str(column)].append(entry)
    entries = (entry["auc_difference"] for column in found.values() for entry in column)
    correct_together([entry for entry in entries if entry])
    return found
