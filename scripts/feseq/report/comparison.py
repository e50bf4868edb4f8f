"""The comparison of all models in one table."""

from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import Any

import pandas as pd

from ..catalog.families import family_of, is_model
from ..common.errors import UserError
from ..common.files import Output, read_json, whole_file, written_beside
from ..common.parquet import metadata_of
from ..config.names import BLEND, check_name, folder_name
from ..evaluate.delong import Entry
from ..evaluate.intervals import behind_best
from ..evaluate.metrics import BY_NAME, Metric
from ..evaluate.valid_predictions import read_predictions

# Keys of metrics.json.
_MEASURED = (
    *("simulated_data", "enough_clicks", "auc_ablated", "best_model"),
    *("expected_auc", "best_auc", "best_auc_of_new_users", "share_of_best"),
)


def write_comparison(metrics: list[Path], comparison: Output, *, metric: str) -> None:
    """Write one row a model; results/README.md lists the columns.

    The size with the most validation rows comes first, and within a size the best model by
    `metric`, the name of the table's. Each of `metrics` is a results/{size}/{name}/metrics.json
    with the files of its model beside it.
    """
    models = pd.DataFrame([_row(path, metric) for path in metrics])
    # An integer that some models lack: missing values would make it a float.
    models = models.astype({"train_rows": "Int64"}).assign(metric=metric, path=metrics)
    behind = [_behind(rows, BY_NAME[metric]) for _, rows in models.groupby("size")]
    models = models.join(pd.concat(behind))
    # Sizes have different validation rows: a metric of a few clicks must not lead the table.
    models = models.drop(columns="path").sort_values(
        ["valid_rows", "size", metric, "model"],
        ascending=[False, True, BY_NAME[metric].sign < 0, True],
    )
    models["settings"] = models.pop("settings")  # long, so last
    with written_beside(comparison) as temporary:
        models.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")


def _row(path: Path, metric: str) -> dict[str, Any]:
    """A row of comparison.csv, from a model's metrics.json and the files beside it.

    Raises UserError if these hold other things.
    """
    with whole_file(path):
        measured = read_json(path, kind="metrics.json", keys=("full_name", "metrics", "clicks"))
        check_name(path, measured["full_name"], folder_name(path))
        training = read_json(path.with_name("training.json"))
        size, name = path.absolute().parts[-3:-1]
        family = family_of(name).name if is_model(name) else {BLEND: BLEND}.get(name, "baseline")
        row: dict[str, Any] = {"size": size, "model": name, "kind": family}
        row |= {"valid_rows": measured["rows"], "valid_clicks": measured["clicks"]}
        row |= {key: measured[key] for key in _MEASURED}
        row |= _flat(measured["metrics"])
        row |= _flat({key: measured[key] for key in ("score_gain", "histories")})
        row |= _flat({"gain_over_best": (measured["gain_over_best"] or {}).get(metric)})
        rows, peak = (training.get(key) for key in ("train_rows", "peak_memory_bytes"))
        row["train_rows"] = None if rows is None else index(rows)
        row["negative_share"] = training.get("negative_share")
        row["train_seconds"] = training.get("seconds")
        row["peak_memory_mib"] = None if peak is None else peak / 2**20
        sets = training.get("sets")
        row["features"] = None if sets is None else "+".join(sets) or "none"
        # Spaces separate the settings, so values have none.
        settings = training.get("settings", {}).items()
        row["settings"] = " ".join(f"{key}={value}".replace(" ", "") for key, value in settings)
        return row


def _flat(entries: Mapping[str, Entry | None]) -> dict[str, Any]:
    """Entries of metrics.json as columns: `name`, `name_low`, `name_high`, and its `p_value`."""
    return {
        name if key == "value" else f"{name}_{key}": number
        for name, entry in entries.items()
        for key, number in (entry or dict.fromkeys(("value", "low", "high"))).items()
    }


def _behind(models: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """How far each model of a size is behind the best by a metric, with an interval.

    All are measured on the same rows, so what makes rows hard for all models cancels out. The
    p-values are corrected for the number of models. `agreement` is the rank correlation of a
    model's logits with those of the best, NaN if all are equal.
    """
    paths = [path.with_name("valid_predictions.parquet") for path in models["path"]]
    tables = [read_predictions(path, folder_name(path)) for path in paths]
    for path, table in zip(paths, tables):
        if not table["row"].equals(tables[0]["row"]):
            raise UserError(
                f"{paths[0]} and {path} are of different rows; delete both, and run the same "
                f"command again"
            )
    logits = [table["logit"].to_numpy() for table in tables]
    click_rate = float(metadata_of(tables[0])["click_rate"])
    best, entries = behind_best(tables[0]["label"].to_numpy(), logits, metric, click_rate)
    ranks = [pd.Series(logit).rank() for logit in logits]
    columns = [_flat({"behind": entry}) for entry in entries]
    agreement = [ranks[best].corr(each) for each in ranks]
    return pd.DataFrame(columns, index=models.index).assign(agreement=agreement)
