"""The rule `measure`: metrics of validation predictions with intervals, also by slice."""

import logging
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import write_json
from ..common.parquet import metadata_of, read_table
from ..dataset.categories import ByCode
from ..dataset.opening import Rows as Source
from ..dataset.opening import open_table
from ..dataset.table import Table, reported
from .intervals import CONFIDENCE, RESAMPLES, Auc, correct_together, gain_entries, metric_entries
from .metrics import Rows, expected_auc, share_of_best
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)

# Histories of these lengths and more, up to the next, are a slice.
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000)


def measure_predictions(
    predictions: Path,
    rows: Source,
    truth: Path | None,
    *,
    resamples: int = RESAMPLES,
    full_name: str = "",
) -> dict[str, Any]:
    """All metrics of one model's predictions of the reported rows; see results/README.md.

    `truth` holds the true probabilities of a simulated file. Raises UserError if the predictions
    are of other rows, or not of the model with this `full_name`.
    """
    with open_table(rows) as table:
        simulated, holdout = table.source["simulated"], table.holdout
        is_reported = reported(holdout)
        row, label = (table.column(name)[is_reported] for name in ("row", "label"))
        slices = _slices(table)[is_reported]
    read = read_predictions(predictions, full_name=full_name)
    if not all(np.array_equal(read[n].to_numpy(), x) for n, x in (("row", row), ("label", label))):
        raise UserError(
            f"{predictions}: has other rows than {table.path}; delete it and run the same command "
            f"again"
        )
    logit, click_rate = read["logit"].to_numpy(), float(metadata_of(read)["click_rate"])
    auc = Auc.of(label, logit)
    scored = Rows(label, logit, click_rate)
    metrics = metric_entries(scored, auc, resamples)
    return {
        "rows": len(label),
        "clicks": int(label.sum()),
        "click_rate": float(label.mean()),
        "unseen": bool(holdout.any()),
        "full_name": full_name,
        "simulated_data": simulated,
        "bootstrap": resamples,
        "confidence": CONFIDENCE,
        "enough_clicks": auc.enough,
        "score_gain": metrics.pop("score_gain"),
        "metrics": metrics,
        **_histories(read, auc),
        **_ahead(read, auc, scored, resamples),
        **_learnable(read, truth),
        "slices": _slice_entries(slices, label, logit, auc),
    }


def write_metrics(path: Path, *arguments: Any, **options: Any) -> None:
    """Write what `measure_predictions` finds as JSON, and the metrics to the log."""
    found = measure_predictions(*arguments, **options)
    write_json(path, found)
    known = {name: entry["value"] for name, entry in found["metrics"].items()}
    logger.info(
        "%s rows, %d clicks: %s",
        f"{found['rows']:,}",
        found["clicks"],
        ", ".join(f"{name} {value:.5f}" for name, value in known.items() if value is not None),
    )


def _histories(read: pa.Table, auc: Auc) -> dict[str, Any]:
    """What the histories add to a model's metrics."""
    if "logit_blanked" not in read.column_names:
        return {"auc_blanked": None, "histories": None}
    blanked = Auc.of(read["label"].to_numpy(), read["logit_blanked"].to_numpy())
    return {"auc_blanked": blanked.entry()["value"], "histories": auc.minus(blanked)}


def _ahead(read: pa.Table, auc: Auc, rows: Rows, resamples: int) -> dict[str, Any]:
    """How much better a blend is than the best model in it."""
    if "logit_best" not in read.column_names:
        return {"ahead_of": None, "ahead": None}
    metadata, label, best = (
        metadata_of(read),
        read["label"].to_numpy(),
        read["logit_best"].to_numpy(),
    )
    gain = auc.minus(Auc.of(label, best))
    ahead = gain_entries(rows, Rows(label, best, float(metadata["click_rate"])), gain, resamples)
    return {"ahead_of": metadata["best"], "ahead": ahead}


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
    return dict(zip(names, [*aucs, share_of_best(*aucs[:2])]))


def _slices(table: Table) -> pd.DataFrame:
    """The slice that each row is in: by each categorical column, and by its history's length."""
    slices = {}
    for column, codes in zip(table.categorical_columns, table.column("categorical").T):
        # Numbers by their size, then words, missing last.
        words = sorted(table.vocabulary(column), key=_by_number)
        place = ByCode(words, np.arange(len(words)), missing=len(words), other=len(words))
        names = pd.Index([*(word or "(empty)" for word in words), "(missing)"])
        slices[column] = pd.Categorical.from_codes(place(codes), names, ordered=True)
    first = table.sequence_columns[0]
    lengths = np.concatenate([b.sequences[first].lengths for b in table.blocks([first])])
    names = [f"{a}" if a == b - 1 else f"{a}-{b - 1}" for a, b in pairwise(LENGTHS)]
    bins = [*LENGTHS, np.inf]
    names = [*names, f"{LENGTHS[-1]}+"]
    slices["history_length"] = pd.cut(lengths, bins, right=False, labels=names)
    return pd.DataFrame(slices)


def _by_number(word: str) -> tuple[float, str]:
    number = pd.to_numeric(word, errors="coerce")
    return (np.inf if np.isnan(number) else float(number)), word


def _slice_entries(
    slices: pd.DataFrame, label: np.ndarray, logit: np.ndarray, whole: Auc
) -> dict[str, list[dict[str, Any]]]:
    """Rows, clicks and AUC of each slice that has rows, by column.

    `apart` says how far its AUC is above `whole`, that of all rows; both are None where a slice has
    one class. The chances of all slices of all columns are corrected together.
    """

    def entries(column: pd.Series) -> Iterator[dict[str, Any]]:
        for name, rows in column.groupby(column, observed=True).indices.items():
            auc = Auc.of(label[rows], logit[rows])
            known = not np.isnan(auc.value)
            yield {
                "slice": name,
                "rows": len(rows),
                "clicks": int(label[rows].sum()),
                "auc": auc.entry() if known else None,
                "apart": whole.of_part(auc, rows) if known else None,
            }

    found = {str(name): list(entries(column)) for name, column in slices.items()}
    correct_together([of["apart"] for column in found.values() for of in column if of["apart"]])
    return found
