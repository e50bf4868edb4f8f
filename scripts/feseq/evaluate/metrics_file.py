"""The rule `measure`: metrics of validation predictions with intervals, also by slice."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from ..common.errors import UserError
from ..common.files import write_json
from ..common.logits import log_odds
from ..common.parquet import marks_of, read_table
from ..dataset.store import H5Table
from .intervals import CONFIDENCE, as_entry, intervals
from .metrics import GroupedAuc, Metrics, share_of_best
from .slices import by_length, by_value, slices_of
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)


def measure_predictions(
    predictions: Path,
    valid_h5: Path,
    truth: Path | None,
    *,
    resamples: int,
    slices: Sequence[str] | None,
    gauc: str | None,
) -> dict[str, Any]:
    """All figures of one model's predictions of the rows that judge; see results/README.md.

    `slices` and `gauc` name categorical columns, None in `slices` all of them; `truth` holds the
    true probabilities of a simulated file. Raises UserError if the predictions are of other rows.
    """
    with H5Table(valid_h5) as table:
        simulated = table.source["simulated"]
        judges = table.judges
        row, label = table.column("row")[judges], table.column("label")[judges]
        by_column = {name: groups.take(judges) for name, groups in by_value(table).items()}
        lengths = by_length(table).take(judges)
    read = read_predictions(predictions)
    if not all(np.array_equal(read[n].to_numpy(), x) for n, x in (("row", row), ("label", label))):
        raise UserError(
            f"{predictions}: has other rows than {valid_h5}; delete it and run the same command "
            f"again"
        )
    logit = read["logit"].to_numpy()
    sliced = {name: by_column[name] for name in (by_column if slices is None else slices)}
    sliced["history_length"] = lengths
    gauc_groups = by_column[gauc].group if gauc else None
    odds = log_odds(float(marks_of(read)["click_rate"]))
    metrics = Metrics(label, logit, (0, -odds), gauc_groups)
    grouped = [GroupedAuc(label, logit, groups.group) for groups in sliced.values()]
    first, *others = intervals(
        [lambda weight: _flat(metrics.of(weight)), *map(_aucs, grouped)], label, resamples
    )
    names = list(metrics.of(np.ones(len(label), np.int64))[0])
    ends = [as_entry(*figures) for figures in zip(*first)]
    return {
        "rows": len(label),
        "clicks": int(label.sum()),
        "click_rate": float(label.mean()),
        "unseen": not judges.all(),
        "simulated_data": simulated,
        "bootstrap": resamples,
        "confidence": CONFIDENCE,
        "metrics": dict(zip(names, ends)),
        "balanced": dict(zip(names, ends[len(names) :])),
        **_beside(read, truth),
        "slices": {
            name: slices_of(groups, label, aucs.names, found)
            for (name, groups), aucs, found in zip(sliced.items(), grouped, others)
        },
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
    return np.array([value for metrics in measured for value in metrics.values()])


def _aucs(grouped: GroupedAuc) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weight: grouped.by_group(weight)[0]


def _beside(read: pa.Table, truth: Path | None) -> dict[str, float | None]:
    """What only models with histories and only simulated data have, None for others."""
    found: dict[str, float | None] = {"auc_blanked": None, "best_auc": None, "share_of_best": None}
    label = read["label"].to_numpy()
    if "logit_blanked" in read.column_names:
        found["auc_blanked"] = float(roc_auc_score(label, read["logit_blanked"].to_numpy()))
    if truth is not None:
        probability = read_table(truth, ["probability"])["probability"].to_numpy()
        best = float(roc_auc_score(label, probability[read["row"].to_numpy()]))
        auc = float(roc_auc_score(label, read["logit"].to_numpy()))
        found |= {"best_auc": best, "share_of_best": share_of_best(auc, best)}
    return found
