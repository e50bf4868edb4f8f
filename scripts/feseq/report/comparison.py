"""All models beside one another: their figures, costs and settings as one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..common.errors import UserError
from ..common.files import read_json, written_beside
from ..config.names import ENSEMBLE, is_boosting, is_feseq, is_model
from ..evaluate.intervals import intervals
from ..evaluate.metrics import GroupedAuc
from ..evaluate.valid_predictions import read_predictions

_COSTS = {
    "train_samples_per_second": "samples_per_second",
    "train_seconds": "seconds",
    "best_epoch": "best_epoch",
    "epochs": "epochs",
    "parameters": "parameters",
    "device": "device",
    "precision": "precision",
}
_ENDS = {"": "value", "_low": "low", "_high": "high"}
# With gaps where a model has none, which would make them floats.
_WHOLE = dict.fromkeys(("train_rows", "best_epoch", "epochs", "parameters"), "Int64")


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
    models = pd.DataFrame([_row(path) for path in metrics]).astype(_WHOLE).assign(path=metrics)
    behind = [_behind(rows, resamples) for _, rows in models.groupby("size")]
    models = models.join(pd.concat(behind)).drop(columns="path")
    # Sizes have other validation rows each: an AUC of a few clicks must not lead the table.
    models = models.sort_values(
        ["valid_rows", "size", "auc", "model"], ascending=[False, True, False, True]
    )
    models["settings"] = models.pop("settings")  # long, so last
    with written_beside(comparison) as temporary:
        models.to_csv(temporary, index=False, lineterminator="\n", float_format=_rounded)


def kind_of(model: str) -> str:
    """feseq, boosting, baseline or ensemble."""
    if is_feseq(model):
        return "feseq"
    if is_boosting(model):
        return "boosting"
    return "ensemble" if model == ENSEMBLE else "baseline"


def _row(metrics: Path) -> dict[str, Any]:
    figures = read_json(metrics)
    training = read_json(metrics.with_name("training.json"))
    size, model = metrics.absolute().parts[-3:-1]
    predicted = read_json(metrics.with_name("valid_speed.json")) if is_model(model) else {}
    row: dict[str, Any] = {"size": size, "model": model, "kind": kind_of(model)}
    row |= {"simulated_data": figures["simulated_data"], "train_rows": training.get("train_rows")}
    row |= {"valid_rows": figures["rows"], "unseen": figures["unseen"]}
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
    score = training.get("ahead", {}).get("score", {})
    row["ahead_of"] = training.get("ahead_of")
    row |= {f"score_ahead{end}": score.get(key) for end, key in _ENDS.items()}
    peak = training.get("peak_memory_bytes")
    row["peak_memory_mib"] = None if peak is None else peak / 2**20
    settings = training.get("settings", {}).items()
    row["settings"] = " ".join(f"{key}={_plain(value)}" for key, value in settings)
    return row


def _behind(models: pd.DataFrame, resamples: int) -> pd.DataFrame:
    """How far the AUC of each model of a size is behind the best of them, with its interval.

    Both AUCs come from the same resamples, so that what makes rows hard for all cancels out.
    """
    tables = [
        read_predictions(path.with_name("valid_predictions.parquet")) for path in models["path"]
    ]
    for path, table in zip(models["path"], tables):
        if not table["row"].equals(tables[0]["row"]):
            raise UserError(
                f"{path} and {models['path'].iloc[0]} were measured on other rows; delete both, "
                f"and the predictions beside them, and run the same command again"
            )
    label = tables[0]["label"].to_numpy()
    one_group = np.zeros(len(label), np.int8)
    aucs = [GroupedAuc(label, table["logit"].to_numpy(), one_group) for table in tables]
    best = int(np.argmax(models["auc"].to_numpy(float)))

    def behind(weight: np.ndarray) -> np.ndarray:
        values = np.array([auc.by_group(weight)[0][0] for auc in aucs])
        return values[best] - values

    (found,) = intervals([behind], label, resamples)
    names = ("auc_behind", "auc_behind_low", "auc_behind_high")
    return pd.DataFrame(dict(zip(names, found)), index=models.index)


def _plain(value: Any) -> str:
    """Without spaces, which part the settings."""
    return str(value).replace(" ", "")


def _rounded(value: float) -> str:
    return repr(float(f"{value:.6g}"))
