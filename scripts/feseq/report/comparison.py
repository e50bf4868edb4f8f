"""All models beside one another: their figures, costs and settings as one table."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common.errors import UserError
from ..common.files import read_json, written_beside
from ..config.catalog import ENSEMBLE, is_feseq
from ..evaluate.intervals import intervals
from ..evaluate.measure import read_predictions
from ..evaluate.metrics import GroupedAuc

_COSTS = {
    "train_samples_per_second": "samples_per_second",
    "train_seconds": "seconds",
    "best_epoch": "best_epoch",
    "epochs": "epochs",
    "parameters": "parameters",
    "device": "device",
    "precision": "precision",
}


def write_comparison(metrics: Sequence[Path], comparison: Path, *, resamples: int) -> None:
    """Write one row a model, as results/README.md lists the columns.

    Sizes with the most validation rows first, within a size the best AUC. Each `metrics` is a
    results/{size}/{name}/metrics.json with the files of its model beside it. Raises UserError
    without any.
    """
    if not metrics:
        raise UserError(
            "there is no model to compare; train one, or name a size in evaluation.sizes"
        )
    rows = [_row(path) for path in metrics]
    for size in {row["size"] for row in rows}:
        of_size = {path: row for path, row in zip(metrics, rows) if row["size"] == size}
        _add_distance(of_size, resamples)
    # Sizes have other validation rows each: an AUC of a few clicks must not lead the table.
    rows.sort(key=lambda row: (-row["valid_rows"], row["size"], -row["auc"], row["model"]))
    names = list(dict.fromkeys(name for row in rows for name in row if name != "settings"))
    names.append("settings")
    with written_beside(comparison) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _rounded(value) for name, value in row.items()} for row in rows)


def read_comparison(path: Path) -> list[dict[str, str]]:
    """The rows of `write_comparison`, texts by column; raises UserError for another file."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"size", "model", "auc"} <= rows[0].keys():
        raise UserError(f"{path}: not a comparison of models; delete it and run the command again")
    return rows


def kind_of(model: str) -> str:
    """feseq, baseline or ensemble."""
    if is_feseq(model):
        return "feseq"
    return "ensemble" if model == ENSEMBLE else "baseline"


def _row(metrics: Path) -> dict[str, Any]:
    figures = read_json(metrics)
    training = read_json(metrics.with_name("training.json"))
    size, model = metrics.absolute().parts[-3:-1]
    is_feseq = kind_of(model) == "feseq"
    predicted = read_json(metrics.with_name("valid_speed.json")) if is_feseq else {}
    row: dict[str, Any] = {"size": size, "model": model, "kind": kind_of(model)}
    row |= {"simulated_data": figures["simulated_data"], "train_rows": training.get("train_rows")}
    row["valid_rows"] = figures["rows"]
    for name, interval in figures["metrics"].items():
        row |= {name: interval["value"]}
        row |= {f"{name}_{end}": interval[end] for end in ("low", "high")}
    row["weighted_logloss_balanced"] = figures["balanced"]["weighted_logloss"]["value"]
    row["score_balanced"] = figures["balanced"]["score"]["value"]
    row |= {name: figures[name] for name in ("auc_blanked", "best_auc", "share_of_best")}
    row |= {column: training.get(name) for column, name in _COSTS.items()}
    row["predict_samples_per_second"] = predicted.get(
        "samples_per_second", training.get("predict_samples_per_second")
    )
    peak = training.get("peak_memory_bytes")
    row["peak_memory_mib"] = None if peak is None else peak / 2**20
    settings = training.get("settings", {}).items()
    row["settings"] = " ".join(f"{key}={_plain(value)}" for key, value in settings)
    return row


def _add_distance(rows: Mapping[Path, dict[str, Any]], resamples: int) -> None:
    """To each row of a size, by its metrics file, `auc_behind` the best of them, with its interval.

    From the same resamples for both, so that what makes rows hard for all models cancels out.
    """
    tables = [read_predictions(path.with_name("valid_predictions.parquet")) for path in rows]
    for path, table in zip(rows, tables):
        if not table["row"].equals(tables[0]["row"]):
            raise UserError(
                f"{path} and {next(iter(rows))} were measured on other rows; delete both, and the "
                f"predictions beside them, and run the same command again"
            )
    label = tables[0]["label"].to_numpy()
    one_group = np.zeros(len(label), np.int8)
    aucs = [GroupedAuc(label, table["logit"].to_numpy(), one_group) for table in tables]
    best = int(np.argmax([row["auc"] for row in rows.values()]))

    def behind(weight: np.ndarray) -> np.ndarray:
        values = np.array([auc.of_groups(weight)[0][0] for auc in aucs])
        return values[best] - values

    ((value, low, high),) = intervals([behind], label, resamples)
    for i, row in enumerate(rows.values()):
        ends = {"": value[i], "_low": low[i], "_high": high[i]}
        row |= {f"auc_behind{end}": None if np.isnan(x) else float(x) for end, x in ends.items()}


def _plain(value: Any) -> str:
    """Without spaces, which part the settings."""
    return str(value).replace(" ", "")


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
