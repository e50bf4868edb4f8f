"""All models beside one another: their figures, costs and settings as one table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ..common.errors import UserError
from ..common.files import read_json, written_beside
from ..config.names import ENSEMBLE, check_name, folder_name, is_boosting, is_feseq, is_model
from ..evaluate.auc import Auc, correct_together, difference_entry
from ..evaluate.valid_predictions import read_predictions
from .page import write_html

_COSTS = {
    "train_samples_per_second": "samples_per_second",
    "train_seconds": "seconds",
    "best_epoch": "best_epoch",
    "epochs": "epochs",
    "parameters": "parameters",
    "device": "device",
    "precision": "precision",
}
_NOT_AHEAD = {"value": None, "low": None, "high": None}
_PLAIN = ("auc_blanked", "expected_auc", "best_auc", "best_auc_of_new_users", "share_of_best")
# With gaps where a model has none, which would make them floats.
_WHOLE = dict.fromkeys(("train_rows", "best_epoch", "epochs", "parameters"), "Int64")


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
    models = pd.DataFrame([_row(path) for path in metrics]).astype(_WHOLE).assign(path=metrics)
    behind = [_behind(rows) for _, rows in models.groupby("size")]
    models = models.join(pd.concat(behind)).drop(columns="path")
    # Sizes have other validation rows each: an AUC of a few clicks must not lead the table.
    models = models.sort_values(
        ["valid_rows", "size", "auc", "model"], ascending=[False, True, False, True]
    )
    models["settings"] = models.pop("settings")  # long, so last
    with written_beside(comparison) as temporary:
        models.to_csv(temporary, index=False, lineterminator="\n", float_format=_rounded)
    kind = "simulated" if models["simulated_data"].any() else "real"
    columns = models.map(_cell).set_axis(models["size"] + " " + models["model"]).T
    write_html(
        view, "All models", f"<h1>All models, on {kind} data</h1>\n{columns.to_html(border=0)}"
    )


def kind_of(model: str) -> str:
    """feseq, boosting, baseline or ensemble."""
    if is_feseq(model):
        return "feseq"
    if is_boosting(model):
        return "boosting"
    return "ensemble" if model == ENSEMBLE else "baseline"


def _row(metrics: Path) -> dict[str, Any]:
    figures = read_json(metrics)
    check_name(metrics, figures.get("full_name", ""), folder_name(metrics))
    training = read_json(metrics.with_name("training.json"))
    size, model = metrics.absolute().parts[-3:-1]
    predicted = read_json(metrics.with_name("valid_speed.json")) if is_model(model) else {}
    row: dict[str, Any] = {"size": size, "model": model, "kind": kind_of(model)}
    row |= {"simulated_data": figures["simulated_data"], "train_rows": training.get("train_rows")}
    row |= {"valid_rows": figures["rows"], "valid_clicks": figures["clicks"]}
    row |= {name: figures[name] for name in ("enough_clicks", "unseen")}
    for name, interval in figures["metrics"].items():
        row |= _flat(name, interval)
    row["weighted_logloss_balanced"] = figures["balanced"]["weighted_logloss"]["value"]
    row["score_balanced"] = figures["balanced"]["score"]["value"]
    row |= {name: figures[name] for name in _PLAIN}
    row |= _flat("score_gain", figures["score_gain"]) | _flat("histories", figures["histories"])
    row |= {column: training.get(name) for column, name in _COSTS.items()}
    row["predict_samples_per_second"] = predicted.get(
        "samples_per_second", training.get("predict_samples_per_second")
    )
    row["ahead_of"] = figures["ahead_of"]
    row |= _flat("score_ahead", (figures["ahead"] or {}).get("score", _NOT_AHEAD))
    peak = training.get("peak_memory_bytes")
    row["peak_memory_mib"] = None if peak is None else peak / 2**20
    settings = training.get("settings", {}).items()
    row["settings"] = " ".join(f"{key}={_plain(value)}" for key, value in settings)
    return row


def _flat(name: str, entry: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parts of an entry of metrics.json as columns; `value` is called by the name alone."""
    parts = (entry or {}).items()
    return {name if part == "value" else f"{name}_{part}": found for part, found in parts}


def _behind(models: pd.DataFrame) -> pd.DataFrame:
    """How far the AUC of each model of a size is behind the best of them, with its interval.

    Both AUCs are of the same rows, so that what makes rows hard for all cancels out. The chances
    are corrected for the number of models. `agreement` is the rank correlation of its logits with
    those of the best, NaN where all are equal.
    """
    best = models.loc[models["auc"].astype(float).fillna(-1.0).idxmax()]
    rows = read_predictions(best["path"].with_name("valid_predictions.parquet"))
    auc, ranks, agreement = _auc(rows), _ranks(rows), {}
    found = {}
    for index, path in models["path"].items():
        predictions = path.with_name("valid_predictions.parquet")
        table = read_predictions(predictions, full_name=folder_name(path))
        if not table["row"].equals(rows["row"]):
            raise UserError(
                f"{path} and {best['path']} were measured on other rows; delete both, and the "
                f"predictions beside them, and run the same command again"
            )
        found[index] = difference_entry(*auc.minus(_auc(table)))
        agreement[index] = ranks.corr(_ranks(table))
    correct_together([entry for index, entry in found.items() if index != best.name])
    columns = {index: _flat("auc_behind", entry) for index, entry in found.items()}
    found_columns = pd.DataFrame.from_dict(columns, orient="index")
    return found_columns.assign(agreement=pd.Series(agreement))


def _auc(predictions: pa.Table) -> Auc:
    return Auc.of(predictions["label"].to_numpy(), predictions["logit"].to_numpy())


def _ranks(predictions: pa.Table) -> pd.Series:
    """Place of each row among all, by its logit; equal ones share the mean of their places."""
    return pd.Series(predictions["logit"].to_numpy()).rank()


def _plain(value: Any) -> str:
    """Without spaces, which part the settings."""
    return str(value).replace(" ", "")


def _cell(value: Any) -> str:
    """A value as a reader wants it, nothing where there is none."""
    if pd.isna(value):
        return ""
    return f"{value:,.5g}" if isinstance(value, float) else str(value)


def _rounded(value: float) -> str:
    return repr(float(f"{value:.6g}"))
