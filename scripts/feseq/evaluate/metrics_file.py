"""The rule `measure`: metrics of validation predictions with intervals, also by slice."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import write_json
from ..common.logits import log_odds
from ..common.parquet import marks_of, read_table
from ..dataset.folds import FoldRows
from ..dataset.opening import Rows, open_table
from .auc import Auc, auc_entry, difference_entry, expected_auc
from .blend import ahead_of
from .intervals import CONFIDENCE, as_entry, intervals
from .metrics import Metrics, share_of_best
from .slices import by_length, by_value, correct_slices, slices_of
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)


def measure_predictions(
    predictions: Path,
    rows: Rows,
    truth: Path | None,
    *,
    resamples: int,
    slices: Sequence[str] | None,
    gauc: str | None,
    full_name: str = "",
) -> dict[str, Any]:
    """All figures of one model's predictions of the rows that judge; see results/README.md.

    `slices` and `gauc` name categorical columns, None in `slices` all of them; `truth` holds the
    true probabilities of a simulated file. Raises UserError if the predictions are of other
    rows, or not of the model with this `full_name`.
    """
    with open_table(rows) as table:
        simulated, judges = table.source["simulated"], table.judges
        row, label = (table.column(name)[judges] for name in ("row", "label"))
        groups = by_value(table) | {"history_length": by_length(table)}
        groups = {name: of_rows.take(judges) for name, of_rows in groups.items()}
    read = read_predictions(predictions, full_name=full_name)
    if not all(np.array_equal(read[n].to_numpy(), x) for n, x in (("row", row), ("label", label))):
        raise UserError(
            f"{predictions}: has other rows than {table.path}; delete it and run the same command "
            f"again"
        )
    logit = read["logit"].to_numpy()
    sliced = groups if slices is None else [*slices, "history_length"]
    gauc_groups = groups[gauc].group if gauc else None
    odds = log_odds(float(marks_of(read)["click_rate"]))
    metrics = Metrics(label, logit, (0, -odds), gauc_groups)
    auc = Auc.of(label, logit)
    # Resamples of few clicks say little.
    ((value, *ends),) = intervals(
        [lambda weight: _flat(metrics.of(weight))], label, resamples if auc.enough else 0
    )
    entries = [as_entry(*figures) for figures in zip(value, *ends)]
    names = list(metrics.of(np.ones(len(label), np.int64))[0])
    observed, balanced = (
        dict(zip(names, entries[start:])) | {"auc": auc_entry(auc)} for start in (0, len(names))
    )
    found = {name: slices_of(groups[name], label, logit, auc) for name in sliced}
    correct_slices(found)
    return {
        "rows": len(label),
        "clicks": int(label.sum()),
        "click_rate": float(label.mean()),
        # Each model of a fold followed the steps that validation rows chose.
        "unseen": isinstance(rows, FoldRows) or not judges.all(),
        "full_name": full_name,
        "simulated_data": simulated,
        "bootstrap": resamples,
        "confidence": CONFIDENCE,
        "enough_clicks": auc.enough,
        "metrics": observed,
        "balanced": balanced,
        # That of the balanced odds less that of the observed.
        "score_gain": entries[-1],
        **_beside(read, auc, truth, resamples),
        "slices": found,
    }


def write_metrics(path: Path, *arguments: Any, **options: Any) -> None:
    """Write what `measure_predictions` finds as JSON, and the main figures to the log."""
    figures = measure_predictions(*arguments, **options)
    write_json(path, figures)
    logger.info(
        "%s rows, %d clicks: %s",
        f"{figures['rows']:,}",
        figures["clicks"],
        ", ".join(f"{name} {entry['value']:.5f}" for name, entry in figures["metrics"].items()),
    )


def _flat(measured: Sequence[dict[str, float]]) -> np.ndarray:
    observed, balanced = measured
    gain = balanced["score"] - observed["score"]
    return np.array([*observed.values(), *balanced.values(), gain])


def _beside(read: pa.Table, auc: Auc, truth: Path | None, resamples: int) -> dict[str, Any]:
    """What only models with histories, ensembles and simulated data have, None for others.

    What could be learned is judged by the true probabilities, free of the labels' chance: no model
    has more than all of it, however few the clicks.
    """
    expected = ("expected_auc", "best_auc", "best_auc_of_new_users", "share_of_best")
    others = ("auc_blanked", "histories", "ahead_of", "ahead")
    found: dict[str, Any] = dict.fromkeys((*others, *expected))
    label, logit = read["label"].to_numpy(), read["logit"].to_numpy()
    if "logit_blanked" in read.column_names:
        blanked = Auc.of(label, read["logit_blanked"].to_numpy())
        found["auc_blanked"] = as_entry(blanked.value, math.nan, math.nan)["value"]
        found["histories"] = difference_entry(*auc.minus(blanked))
    if "logit_best" in read.column_names:
        marks, best = marks_of(read), read["logit_best"].to_numpy()
        found["ahead_of"] = marks["best"]
        found["ahead"] = ahead_of(logit, best, label, float(marks["shift"]), resamples)
    if truth is not None:
        known = read_table(truth, ["probability", "probability_of_new_user"])
        true, of_new_user = (known[name].to_numpy()[read["row"]] for name in known.column_names)
        aucs = [expected_auc(score, true) for score in (logit, true, of_new_user)]
        found |= dict(zip(expected, [*aucs, share_of_best(*aucs[:2])]))
    return found
