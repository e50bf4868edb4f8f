"""Validation predictions of models that submit together, and their weights."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import write_json
from ..common.logits import log_odds, mean_logit
from ..common.parquet import marks_of, write_table
from ..config.names import folder_name, share_of
from .blend import best_of, cross_fitted, fit_weights
from .valid_predictions import read_predictions

logger = logging.getLogger(__name__)


def mix_predictions(
    predictions: Sequence[Path],
    weights: Mapping[str, float] | None,
    mixed: Path,
    fitted: Path,
    training: Path,
    *,
    by: str,
    prior: str,
) -> None:
    """Write the weighted mean of the models' logits, as in a submission, and the weights (JSON).

    `weights` go by the models' names, which are the folders of `predictions`; None: fitted `by` a
    figure at the odds of the submission's `prior`, to rows that do not judge; where all judge,
    `mixed` has each half of them by the weights of the other half. It also has the logits of the
    best of the models. Raises UserError unless all have the same rows.
    """
    tables = [read_predictions(path, None, folder_name(path)) for path in predictions]
    _check_same_rows(predictions, tables)
    names = [path.absolute().parent.name for path in predictions]
    rows = {name: tables[0][name] for name in ("row", "label", "judges")}
    label, judges = (rows[name].to_numpy() for name in ("label", "judges"))
    apart = not judges.all()
    chooses = ~judges if apart else judges
    logits = [table["logit"].to_numpy() for table in tables]
    blanked = [table["logit_blanked"].to_numpy() for table in tables]
    choosing = [logit[chooses] for logit in logits]
    shift = -log_odds(float(marks_of(tables[0])["click_rate"])) if prior == "balanced" else 0.0
    fit = partial(fit_weights, by=by, shift=shift)
    is_given = weights is not None
    if weights is None:
        _check_both_labels(label[chooses], predictions[0])
        weights = dict(zip(names, fit(choosing, label[chooses])))
    shares = [share_of(weights, path) for path in predictions]
    blend = mean_logit(logits, shares) if is_given or apart else cross_fitted(logits, label, fit)
    best = best_of(choosing, label[chooses], by, shift)
    columns = {"logit": blend, "logit_blanked": mean_logit(blanked, shares)}
    columns["logit_best"] = logits[best]
    marks = {**_marks(tables[0]), "best": names[best], "shift": repr(shift)}
    write_table(pa.table({**rows, **columns}), mixed, marks)
    write_json(fitted, weights)
    write_json(training, {"settings": dict(weights)})
    shown = ", ".join(f"{name} {weight:.2g}" for name, weight in weights.items())
    logger.info("%s; the best of them is %s", shown, names[best])


def _marks(table: pa.Table) -> dict[str, str]:
    """The marks of a table that tell of its rows, not of its model."""
    return {**marks_of(table), "full_name": ""}


def _check_same_rows(predictions: Sequence[Path], tables: Sequence[pa.Table]) -> None:
    for path, table in zip(predictions, tables):
        if not (table["row"].equals(tables[0]["row"]) and _marks(table) == _marks(tables[0])):
            raise UserError(
                f"{path}: has other rows than {predictions[0]}; delete both and run the same "
                f"command again"
            )


def _check_both_labels(label: np.ndarray, path: Path) -> None:
    """Each half of the rows needs both, since weights are fitted to it."""
    halves = [label[half::2] for half in (0, 1)]
    if not all(0 < half.sum() < len(half) for half in halves):
        raise UserError(
            f"{path}: {int(label.sum())} clicks in {len(label):,} validation rows are too few to "
            f"fit weights to; give sizes.<size>.submission_weights, or raise "
            f"sampling.valid_share or sizes.<size>.rows"
        )
