"""The comparison of all models in one table."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..common.files import Output, read_json, written_beside
from ..common.parquet import metadata_of
from ..config.names import check_name, folder_name
from ..evaluate.intervals import Entry, bootstrap, differences
from ..evaluate.metric_table import BY_NAME, metrics_of
from ..evaluate.valid_predictions import read_same_rows


def write_comparison(metrics: list[Path], comparison: Output, *, metric: str) -> None:
    """Write one row a model; results/README.md lists the columns.

    The size with the most validation rows comes first, and within a size the best model by
    `metric`, the name of the table's. Each of `metrics` is a results/{size}/{name}/metrics.json
    with the files of its model beside it.
    """
    models = pd.DataFrame([_row(path, metric) for path in metrics])
    # An integer that some models lack: missing values would make it a float.
    models = models.astype({"train_rows": "Int64"}).assign(metric=metric, path=metrics)
    behind = [_behind(rows, metric) for _, rows in models.groupby("size")]
    # Sizes have different validation rows: a metric of a few clicks must not lead the table.
    models = models.join(pd.concat(behind)).sort_values(
        ["valid_rows", "size", metric, "model"],
        ascending=[False, True, BY_NAME[metric].sign < 0, True],
    )
    settings = models.pop("settings")  # long, so last
    with written_beside(comparison) as temporary:
        models.drop(columns="path").assign(settings=settings).to_csv(
            temporary, index=False, lineterminator="\n", float_format="%.6g"
        )


def _row(path: Path, metric: str) -> dict[str, Any]:
    """A row of comparison.csv, from a model's metrics.json and the files beside it.

    Raises UserError if these hold other things.
    """
    measured = read_json(path, kind="metrics.json", keys=("full_name", "metrics", "clicks"))
    check_name(path, measured["full_name"], folder_name(path))
    training = read_json(path.with_name("training.json"))
    size, name = path.absolute().parts[-3:-1]
    # Spaces separate the settings, so values have none.
    settings = training.get("settings", {}).items()
    return {
        "size": size,
        "model": name,
        "valid_rows": measured["rows"],
        "valid_clicks": measured["clicks"],
        **{key: measured[key] for key in ("simulated_data", "enough_clicks", "auc_ablated")},
        **_flat(measured["metrics"]),
        **_flat({"histories": measured["histories"]}),
        "best_model": measured["best_model"],
        **_flat({"gain_over_best": (measured["gain_over_best"] or {}).get(metric)}),
        "train_rows": training.get("train_rows"),
        "train_seconds": training.get("seconds"),
        "peak_memory_mib": training.get("peak_memory_bytes", float("nan")) / 2**20,
        "settings": " ".join(f"{key}={value}".replace(" ", "") for key, value in settings),
    }


def _flat(entries: Mapping[str, Entry | None]) -> dict[str, Any]:
    """Entries of metrics.json as columns: `name`, `name_low`, `name_high`, and its `p_value`."""
    return {
        name if key == "value" else f"{name}_{key}": number
        for name, entry in entries.items()
        for key, number in (entry or dict.fromkeys(("value", "low", "high"))).items()
    }


def _behind(models: pd.DataFrame, metric: str) -> pd.DataFrame:
    """How far each model of a size is behind the best by a metric, with an interval.

    All are measured on the same rows, so what makes rows hard for all models cancels out.
    """
    tables = read_same_rows(
        [path.with_name("valid_predictions.parquet") for path in models["path"]]
    )
    measure = partial(metrics_of, [metric], click_rate=float(metadata_of(tables[0])["click_rate"]))
    logits = [table["logit"].to_numpy() for table in tables]
    values, samples = bootstrap(tables[0]["label"].to_numpy(), logits, measure)
    values, samples = BY_NAME[metric].sign * values, BY_NAME[metric].sign * samples
    best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
    behind = [_flat({"behind": entry}) for (entry,) in differences(values, samples, best)]
    return pd.DataFrame(behind, models.index)
