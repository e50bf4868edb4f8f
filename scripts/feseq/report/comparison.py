"""Models side by side: all in one table, and two on a page with their settings and costs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import read_json, written_beside
from ..common.parquet import metadata_of
from ..config.names import BLEND, check_name, folder_name
from ..evaluate.intervals import (
    LEAST_CLICKS,
    RESAMPLES,
    SIGNIFICANCE,
    Auc,
    Entry,
    correct_together,
    gain_entries,
)
from ..evaluate.metrics import BALANCED, BY_NAME, Rows
from ..evaluate.valid_predictions import read_predictions
from ..families import family_name, is_model
from .page import SIMULATED, markdown_table, with_interval, write_html

logger = logging.getLogger(__name__)

# Columns of comparison.csv by what training.json calls them.
_COSTS = {
    "train_samples_per_second": "samples_per_second",
    "train_seconds": "seconds",
    "best_epoch": "best_epoch",
    "epochs": "epochs",
    "parameters": "parameters",
    "device": "device",
    "precision": "precision",
}
_FROM_METRICS = ("auc_blanked", "expected_auc", "best_auc", "best_auc_of_new_users")
# Whole numbers that some models lack: gaps would make them floats.
_WHOLE = dict.fromkeys(("train_rows", "best_epoch", "epochs", "parameters"), "Int64")
# Entries of a difference from those of the reversed difference.
_TURNED = {"value": "value", "low": "high", "high": "low"}
_ONE_SEED = (
    "The test knows the chance in the rows, not that in a training: another `train.seed` changes "
    "the metrics too. A variant with another seed, compared in the same way, says how much."
)


@dataclass(frozen=True)
class _Model:
    """What the files in a model's folder say of it; `path` is its metrics.json."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.absolute().parent.name

    @property
    def size(self) -> str:
        return self.path.absolute().parent.parent.name

    @cached_property
    def measured(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.path)
        check_name(self.path, found.get("full_name", ""), folder_name(self.path))
        return found

    @cached_property
    def training(self) -> dict[str, Any]:
        return read_json(self.path.with_name("training.json"))

    def predictions(self) -> pa.Table:
        path = self.path.with_name("valid_predictions.parquet")
        return read_predictions(path, full_name=folder_name(path))


def write_comparison(metrics: Sequence[Path], comparison: Path, view: Path) -> None:
    """Write one row a model, as results/README.md lists the columns, and as HTML a column a model.

    Sizes with the most validation rows first, within a size the best AUC. Each `metrics` is a
    results/{size}/{name}/metrics.json with the files of its model beside it. Raises UserError
    without any.
    """
    if not metrics:
        raise UserError(
            "there is no model to compare; train one, or name a size in evaluation.sizes"
        )
    found = [_Model(path) for path in metrics]
    models = pd.DataFrame([_row(model) for model in found]).astype(_WHOLE).assign(of=found)
    models = models.join(pd.concat([_behind(rows) for _, rows in models.groupby("size")]))
    # Sizes differ in their validation rows: an AUC of a few clicks must not lead the table.
    models = models.drop(columns="of").sort_values(
        ["valid_rows", "size", "auc", "model"], ascending=[False, True, False, True]
    )
    models["settings"] = models.pop("settings")  # long, so last
    with written_beside(comparison) as temporary:
        models.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
    kind = "simulated" if models["simulated_data"].any() else "real"
    columns = models.map(_cell).set_axis(models["size"] + " " + models["model"]).T
    write_html(
        view, "All models", f"<h1>All models, on {kind} data</h1>\n{columns.to_html(border=0)}"
    )


def _row(model: _Model) -> dict[str, Any]:
    measured, training = model.measured, model.training
    row: dict[str, Any] = {"size": model.size, "model": model.name, "kind": kind_of(model.name)}
    row |= {"simulated_data": measured["simulated_data"], "train_rows": training.get("train_rows")}
    row |= {"valid_rows": measured["rows"], "valid_clicks": measured["clicks"]}
    row |= {name: measured[name] for name in ("enough_clicks", "unseen")}
    for name in BY_NAME:
        entry = measured["metrics"].get(name)
        row |= _flat(name, entry) if BALANCED not in name else {name: (entry or {}).get("value")}
    row |= {name: measured[name] for name in (*_FROM_METRICS, "share_of_best", "ahead_of")}
    for name in ("score_gain", "histories"):
        row |= _flat(name, measured[name])
    for name in ("score", f"{BALANCED}score"):
        row |= _flat(f"{name}_ahead", (measured["ahead"] or {}).get(name))
    row |= {column: training.get(name) for column, name in _COSTS.items()}
    row["predict_samples_per_second"] = training.get("predict_samples_per_second")
    if is_model(model.name):
        speed = read_json(model.path.with_name("valid_speed.json"))
        row["predict_samples_per_second"] = speed.get("samples_per_second")
    peak = training.get("peak_memory_bytes")
    row["peak_memory_mib"] = None if peak is None else peak / 2**20
    # Values without spaces, which part the settings.
    settings = training.get("settings", {}).items()
    row["settings"] = " ".join(f"{key}={value}".replace(" ", "") for key, value in settings)
    return row


def kind_of(model: str) -> str:
    """The family of a model, baseline or blend."""
    if is_model(model):
        return family_name(model)
    return "blend" if model == BLEND else "baseline"


def _flat(name: str, entry: Entry | None) -> dict[str, Any]:
    """An entry of metrics.json as columns: `name`, `name_low`, `name_high`, and its `chance`."""
    entry = entry or dict.fromkeys(("value", "low", "high"))
    return {name if part == "value" else f"{name}_{part}": found for part, found in entry.items()}


def _behind(models: pd.DataFrame) -> pd.DataFrame:
    """How far the AUC of each model of a size is behind the best of them, with its interval.

    Both AUCs are of the same rows, so that what makes rows hard for all cancels out. The chances
    are corrected for the number of models. `agreement` is the rank correlation of its logits with
    those of the best, NaN where all are equal.
    """
    best = models["of"][models["auc"].astype(float).fillna(-1.0).idxmax()]
    rows = best.predictions()
    auc, ranks = _auc(rows), rows["logit"].to_pandas().rank()
    entries, found = [], []
    for model in models["of"]:
        other = model.predictions()
        _check_same_rows(best, rows, model, other)
        entries.append(auc.minus(_auc(other)))
        found.append({"agreement": ranks.corr(other["logit"].to_pandas().rank())})
    correct_together([e for e, model in zip(entries, models["of"]) if model is not best])
    columns = [row | _flat("auc_behind", entry) for row, entry in zip(found, entries)]
    return pd.DataFrame(columns, index=models.index)


def write_two_models(first: Path, other: Path, page: Path, *, resamples: int = RESAMPLES) -> None:
    """Write a page (Markdown) that compares two models, and what it finds to the log.

    Each is given by its metrics.json, with the files of its model beside it. Raises UserError
    unless both were measured on the same rows.
    """
    one, two = models = (_Model(first), _Model(other))
    tables = [model.predictions() for model in models]
    _check_same_rows(one, tables[0], two, tables[1])
    label = tables[0]["label"].to_numpy()
    auc = _auc(tables[1]).minus(_auc(tables[0]))
    rate = float(metadata_of(tables[0])["click_rate"])
    rows = [Rows(label, table["logit"].to_numpy(), rate) for table in tables]
    gains = gain_entries(rows[1], rows[0], auc, resamples)
    names = [one.name, two.name]
    verdict = _verdict(names, auc, int(label.sum()), len(label))
    metrics = pd.DataFrame(
        [
            {"metric": name}
            | {m.name: _text(name, m.measured["metrics"].get(name)) for m in models}
            | {f"{two.name} better by": _text(name, gain)}
            for name, gain in gains.items()
        ]
    )
    settings = pd.DataFrame([m.training.get("settings", {}) for m in models], index=names).T
    settings = settings.map(str)[settings[names[0]].map(str) != settings[names[1]].map(str)]
    costs = pd.DataFrame([_row(model) for model in models], index=names).T
    costs = costs.loc[["train_rows", *_COSTS, "peak_memory_mib"]].map(_cell)
    parts = [
        f"# {two.name} beside {one.name}, size {one.size}\n",
        *[SIMULATED] * one.measured["simulated_data"],
        f"{verdict}\n\n{_ONE_SEED}\n",
        markdown_table(metrics[metrics.iloc[:, 1] != ""]),
        "## Settings that differ\n",
        markdown_table(settings.rename_axis("setting").reset_index()),
        "## Costs\n",
        markdown_table(costs.rename_axis("cost").reset_index()),
    ]
    with written_beside(page) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    logger.info("%s: %s", page, verdict.replace("**", ""))


def _verdict(names: Sequence[str], auc: Entry, clicks: int, rows: int) -> str:
    """Which of the two is better; `auc` is how far the second one's AUC is above the first's."""
    chance, value = auc["chance"], auc["value"]
    counted = f"{clicks:,} clicks in {rows:,} rows"
    if chance is None or value is None:
        return (
            f"**Too few clicks.** There are {counted}; with fewer than {LEAST_CLICKS}, or as few "
            f"others, no model is called better. Compare on a larger size."
        )
    better, worse = names[::-1] if value > 0 else names
    if value < 0:
        auc = {key: -(auc[turned] or 0) for key, turned in _TURNED.items()}
    by = f"{_text('auc', auc)} (p = {chance:.2g}, DeLong's test, {counted})"
    if chance >= SIGNIFICANCE:
        return f"**The difference is not significant.** The AUCs differ by {by}."
    return f"**{better} is better than {worse}.** Its AUC is higher by {by}."


def _text(metric: str, entry: Entry | None) -> str:
    return with_interval(entry, BY_NAME[metric].digits + 1)


def _auc(predictions: pa.Table) -> Auc:
    return Auc.of(predictions["label"].to_numpy(), predictions["logit"].to_numpy())


def _check_same_rows(one: _Model, rows: pa.Table, other: _Model, other_rows: pa.Table) -> None:
    if not rows["row"].equals(other_rows["row"]):
        raise UserError(
            f"{one.path} and {other.path} were measured on other rows; delete both, and the "
            f"predictions beside them, and run the same command again"
        )


def _cell(value: Any) -> str:
    """A value as text, '' where there is none."""
    if pd.isna(value):
        return ""
    return f"{value:,.5g}" if isinstance(value, float) else str(value)
