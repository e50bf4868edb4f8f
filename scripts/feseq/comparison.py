"""All models beside one another: their figures, costs and settings as one table."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .catalog import ENSEMBLE, MODEL_PATTERN
from .errors import UserError
from .files import read_json, written_beside

_COSTS = {
    "train_samples_per_second": "samples_per_second",
    "train_seconds": "seconds",
    "best_epoch": "best_epoch",
    "epochs": "epochs",
    "parameters": "parameters",
    "device": "device",
    "precision": "precision",
}


def write_comparison(metrics: Sequence[Path], comparison: Path) -> None:
    """Write one row a model, best AUC first, as results/README.md lists the columns.

    Each `metrics` is a results/{size}/{name}/metrics.json with the files of its model beside it.
    """
    rows = [_row(path) for path in metrics]
    # Equal figures, as of two constants, by name.
    rows.sort(key=lambda row: (-(row["auc"] or 0), row["size"], row["model"]))
    names = list(dict.fromkeys(name for row in rows for name in row))
    with written_beside(comparison) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_comparison(path: Path) -> list[dict[str, str]]:
    """The rows of `write_comparison`, texts by column; raises UserError for another file."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"size", "model", "auc"} <= rows[0].keys():
        raise UserError(f"{path}: not a comparison of models; delete it and run the command again")
    return rows


def kind_of(model: str) -> str:
    """feseq, baseline or ensemble."""
    if re.fullmatch(MODEL_PATTERN, model):
        return "feseq"
    return "ensemble" if model == ENSEMBLE else "baseline"


def _row(metrics: Path) -> dict[str, Any]:
    figures = read_json(metrics)
    training = read_json(metrics.with_name("training.json"))
    speed = metrics.with_name("valid_speed.json")
    predicted = read_json(speed) if speed.exists() else {}
    size, model = metrics.parts[-3:-1]
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
    row["settings"] = " ".join(f"{k}={_plain(v)}" for k, v in _settings(training).items())
    return {name: _rounded(value) for name, value in row.items()}


def _settings(training: Mapping[str, Any]) -> Mapping[str, Any]:
    return training.get("settings", {})


def _plain(value: Any) -> str:
    """Without spaces, which part the settings."""
    return str(value).replace(" ", "")


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
