"""How good predictions of the validation rows are: metrics with intervals, also by slice."""

import logging
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from ..common.errors import UserError
from ..common.files import write_json
from ..common.logits import log_odds
from ..common.parquet import marks_of, read_table
from ..dataset.store import H5Table
from .intervals import CONFIDENCE, intervals
from .metrics import GroupedAuc, Measures, share_of_best

logger = logging.getLogger(__name__)

# Histories of these lengths and more, up to the next, are a slice.
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000)


class Groups(NamedTuple):
    """The group [rows] of each row, and the names of all groups."""

    of_row: np.ndarray
    names: Sequence[str]


def evaluate(
    predictions: Path,
    valid_h5: Path,
    truth: Path | None,
    *,
    resamples: int,
    slices: Sequence[str] | None,
    gauc: str | None,
) -> dict[str, Any]:
    """All figures of one model's validation predictions, as results/README.md lists them.

    `slices` and `gauc` name categorical columns, None in `slices` all of them; `truth` holds the
    true probabilities of a simulated file. Raises UserError if the predictions are of other rows.
    """
    with H5Table(valid_h5) as table:
        simulated = table.source["simulated"]
        row, label = table.column("row"), table.column("label")
        by_column = _by_value(table)
        by_length = _by_length(table)
    read = read_predictions(predictions)
    if not all(np.array_equal(read[n].to_numpy(), x) for n, x in (("row", row), ("label", label))):
        raise UserError(
            f"{predictions}: not of the rows of {valid_h5}; delete it and run the same command "
            f"again"
        )
    logit = read["logit"].to_numpy()
    sliced = {name: by_column[name] for name in (by_column if slices is None else slices)}
    sliced["history_length"] = by_length
    of_gauc = by_column[gauc].of_row if gauc else None
    odds = log_odds(float(marks_of(read)["click_rate"]))
    measures = Measures(label, logit, (0, -odds), of_gauc)
    grouped = [GroupedAuc(label, logit, groups.of_row) for groups in sliced.values()]
    first, *others = intervals(
        [lambda weight: _flat(measures.of(weight)), *map(_aucs, grouped)], label, resamples
    )
    names = list(measures.of(np.ones(len(label), np.int64))[0])
    ends = [_interval(*figures) for figures in zip(*first)]
    return {
        "rows": len(label),
        "clicks": int(label.sum()),
        "click_rate": float(label.mean()),
        "simulated_data": simulated,
        "bootstrap": resamples,
        "confidence": CONFIDENCE,
        "metrics": dict(zip(names, ends)),
        "balanced": dict(zip(names, ends[len(names) :])),
        **_beside(read, truth),
        "slices": {
            name: _slices(groups, label, of.names, found)
            for (name, groups), of, found in zip(sliced.items(), grouped, others)
        },
    }


def write_metrics(path: Path, *arguments: Any, **options: Any) -> None:
    """Write what `evaluate` finds as JSON, and the main figures to the log."""
    figures = evaluate(*arguments, **options)
    write_json(path, figures)
    logger.info(
        "%s rows, %d clicks: %s",
        f"{figures['rows']:,}",
        figures["clicks"],
        ", ".join(f"{name} {of['value']:.5f}" for name, of in figures["metrics"].items()),
    )


def read_predictions(path: Path) -> pa.Table:
    """A model's validation predictions: row, label, logit and, of some, logit_blanked."""
    return read_table(path, ("row", "label", "logit"), optional=("logit_blanked",))


def _flat(measured: Sequence[dict[str, float]]) -> np.ndarray:
    return np.array([value for of_shift in measured for value in of_shift.values()])


def _aucs(grouped: GroupedAuc) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weight: grouped.of_groups(weight)[0]


def _interval(value: float, low: float, high: float) -> dict[str, float | None]:
    known = {"value": value, "low": low, "high": high}
    return {name: None if np.isnan(x) else float(x) for name, x in known.items()}


def _beside(read: pa.Table, truth: Path | None) -> dict[str, float | None]:
    """What only models with histories have, and what only simulated data have."""
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


def _by_value(table: H5Table) -> dict[str, Groups]:
    groups = {}
    for column, codes in zip(table.categorical_columns, table.column("categorical").T):
        words = table.vocabulary(column)
        # Numbers first and by their value, missing last.
        order = sorted(range(len(words)), key=lambda code: (code == 0, *_by_number(words[code])))
        rank = np.empty(len(words), np.int64)
        rank[order] = np.arange(len(words))
        names = ["(missing)", *(word or "(empty)" for word in words[1:])]
        groups[column] = Groups(rank[codes], [names[code] for code in order])
    return groups


def _by_number(word: str) -> tuple[float, str]:
    try:
        number = float(word)
    except ValueError:
        number = math.inf
    return (math.inf if math.isnan(number) else number), word


def _by_length(table: H5Table) -> Groups:
    lengths = table.lengths(table.sequence_columns[0])
    names = [f"{a}" if a == b - 1 else f"{a}-{b - 1}" for a, b in pairwise(LENGTHS)]
    of_row = np.searchsorted(LENGTHS, lengths, side="right") - 1
    return Groups(of_row, [*names, f"{LENGTHS[-1]}+"])


def _slices(
    groups: Groups,
    label: np.ndarray,
    present: np.ndarray,
    found: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> list[dict[str, Any]]:
    rows = np.bincount(groups.of_row)
    clicks = np.bincount(groups.of_row, label)
    return [
        {
            "slice": groups.names[code],
            "rows": int(rows[code]),
            "clicks": int(clicks[code]),
            "auc": None if np.isnan(value) else _interval(value, low, high),
        }
        for code, value, low, high in zip(present.tolist(), *found)
    ]
