"""Comparisons of models: all in one table, and two on a page with their settings and costs."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from operator import index
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ..catalog.families import family_of, is_model
from ..common.errors import UserError
from ..common.files import Output, read_json, whole_file, written_beside
from ..common.parquet import metadata_of
from ..config.declared import fields_of
from ..config.names import BLEND, FEW_CLICKS, SIGNIFICANCE, check_name, folder_name
from ..evaluate.delong import Auc, Entry
from ..evaluate.intervals import RESAMPLES, behind_best, gain_entries
from ..evaluate.metrics import BY_NAME, Metric, Predictions
from ..evaluate.valid_predictions import read_predictions
from .page import SIMULATED, literal, markdown_table, with_interval

logger = logging.getLogger(__name__)

# Keys of training.json; those of _TRAIN are columns `train_...` of comparison.csv.
_TRAIN = ("samples_per_second", "seconds")
_COSTS = (
    *("train_rows", "negative_share", *_TRAIN, "best_epoch", "epochs", "parameters"),
    *("device", "precision", "predict_samples_per_second"),
)
# Keys of metrics.json.
_MEASURED = (
    *("simulated_data", "enough_clicks", "on_holdout", "auc_ablated", "best_model"),
    *("expected_auc", "best_auc", "best_auc_of_new_users", "share_of_best"),
)
# Integers that some models lack: missing values would make them floats.
_WHOLE = dict.fromkeys(("train_rows", "best_epoch", "epochs", "parameters"), "Int64")
_ONE_SEED = (
    "The test accounts for the sampling of the rows, not for the randomness of a training: another "
    "`train.seed` changes the metrics too. A variant with another seed, compared in the same way, "
    "shows how much."
)


def write_comparison(metrics: list[Path], comparison: Output, *, metric: str) -> None:
    """Write one row a model; results/README.md lists the columns.

    The size with the most validation rows comes first, and within a size the best model by
    `metric`, the name of the table's. Each of `metrics` is a results/{size}/{name}/metrics.json
    with the files of its model beside it.
    """
    models = pd.DataFrame([_row(path, metric) for path in metrics]).astype(_WHOLE)
    models = models.assign(metric=metric, path=metrics)
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
        measured, training = _measured(path), read_json(path.with_name("training.json"))
        size, name = path.absolute().parts[-3:-1]
        family = family_of(name).name if is_model(name) else {BLEND: BLEND}.get(name, "baseline")
        row: dict[str, Any] = {"size": size, "model": name, "kind": family}
        row |= {"valid_rows": measured["rows"], "valid_clicks": measured["clicks"]}
        row |= {key: measured[key] for key in _MEASURED}
        row |= _flat(measured["metrics"])
        row |= _flat({key: measured[key] for key in ("score_gain", "histories")})
        row |= _flat({"gain_over_best": (measured["gain_over_best"] or {}).get(metric)})
        row |= _costs(path, training)
        sets = training.get("sets")
        row["features"] = None if sets is None else "+".join(sets) or "none"
        # Spaces separate the settings, so values have none.
        settings = training.get("settings", {}).items()
        row["settings"] = " ".join(f"{key}={value}".replace(" ", "") for key, value in settings)
        return row


def _measured(path: Path) -> dict[str, Any]:
    """The content of a metrics.json; raises UserError for other files, or another model's."""
    measured = read_json(path, kind="metrics.json", keys=("full_name", "metrics", "clicks"))
    check_name(path, measured["full_name"], folder_name(path))
    return measured


def _costs(path: Path, training: Mapping[str, Any]) -> dict[str, Any]:
    """The costs of a training, and the speed of predictions."""
    costs: dict[str, Any]
    costs = {f"train_{key}" if key in _TRAIN else key: training.get(key) for key in _COSTS}
    costs |= {key: index(costs[key]) for key in _WHOLE if costs[key] is not None}
    if is_model(path.absolute().parent.name):
        speed = read_json(path.with_name("valid_speed.json"))
        costs["predict_samples_per_second"] = speed.get("samples_per_second")
    peak = training.get("peak_memory_bytes")
    return costs | {"peak_memory_mib": None if peak is None else peak / 2**20}


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
    paths = models["path"].tolist()
    tables = [_predictions(path) for path in paths]
    for path, table in zip(paths, tables):
        _check_same_rows(paths[0], tables[0], path, table)
    best, entries = _best(tables, metric)
    ranks = [table["logit"].to_pandas().rank() for table in tables]
    columns = [_flat({"behind": entry}) for entry in entries]
    agreement = [ranks[best].corr(each) for each in ranks]
    return pd.DataFrame(columns, index=models.index).assign(agreement=agreement)


def write_two_models(
    first: Path, other: Path, page: Output, *, metric: str, resamples: int = RESAMPLES
) -> None:
    """Write a page (Markdown) that compares two models, and log the verdict by the table's metric.

    `first` and `other` are their metrics.json, with the files of the models beside them. Raises
    UserError unless both were measured on the same rows.
    """
    paths = {path.absolute().parent.name: path for path in (first, other)}
    if len(paths) < 2:
        raise UserError(f"{first} and {other}: are of the same name; name two models of a size")
    measured = {name: _measured(path) for name, path in paths.items()}
    tables = {name: _predictions(path) for name, path in paths.items()}
    _check_same_rows(first, tables[first.parent.name], other, tables[other.parent.name])
    names = [*tables]
    best, behind = _best(list(tables.values()), BY_NAME[metric], resamples)
    better, worse, gain = names[best], names[1 - best], behind[1 - best]
    auc_gain = _auc(tables[better]).minus(_auc(tables[worse]))
    gains = gain_entries(_rows(tables[better]), _rows(tables[worse]), auc_gain, resamples)
    entries = {name: content["metrics"] for name, content in measured.items()}
    entries[f"{better} better by"] = gains
    metrics = {
        name: {metric: _text(metric, by_metric.get(metric)) for metric in gains}
        for name, by_metric in entries.items()
    }
    training = {name: read_json(path.with_name("training.json")) for name, path in paths.items()}
    settings = {name: _settings(name, training[name].get("settings", {})) for name in paths}
    costs = {name: _costs(path, training[name]) for name, path in paths.items()}
    content = measured[better]
    counts = f"{content['clicks']:,} clicks in {content['rows']:,} rows"
    verdict = _verdict(better, worse, BY_NAME[metric], gain, counts)
    sections = [f"# {' beside '.join([*paths][::-1])}, size {first.absolute().parts[-3]}\n"]
    if content["simulated_data"]:
        sections.append(SIMULATED)
    sections.append(f"{verdict}\n\n{_ONE_SEED}\n")
    for heading, text in {
        "Metrics": _differing(metrics),
        "Settings": "\n".join([_differing(_shared(settings)), *_unshared(settings)]),
        "Costs": _differing(costs),
    }.items():
        sections.append(f"## {heading}\n\n{text.strip() or 'None differ.'}\n")
    with written_beside(page) as temporary:
        temporary.write_text("\n".join(sections), encoding="utf-8")
    logger.info("%s: %s", page, verdict.replace("**", ""))


def _best(
    tables: Sequence[pa.Table], metric: Metric, resamples: int = RESAMPLES
) -> tuple[int, list[Entry]]:
    """The best of some predictions of the same rows, and how far each is behind it."""
    click_rate = float(metadata_of(tables[0])["click_rate"])
    logits = [table["logit"].to_numpy() for table in tables]
    return behind_best(tables[0]["label"].to_numpy(), logits, metric, click_rate, resamples)


def _verdict(better: str, worse: str, metric: Metric, gain: Entry, counts: str) -> str:
    """Whether `better` is significantly better; `gain` is by how much, in the metric."""
    by = f"their {metric.heading} differs by {_text(metric.name, gain)}, {counts}"
    if gain["p_value"] is None:
        return (
            f"**Too few clicks**: {by}; below {FEW_CLICKS} clicks, or rows without one, no model "
            f"is called better. Raise sampling.valid_share, or compare on a larger size."
        )
    claim = "The difference is not significant"
    if gain["p_value"] < SIGNIFICANCE:
        claim = f"{better} is better than {worse}"
    return f"**{claim}**: {by}, p = {gain['p_value']:.2g}."


def _settings(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A model's settings by their places in the config, such as `train.epochs`.

    Blocks of several families have the same keys, and a metric may have the name of a setting.
    """
    blocks = family_of(model).blocks if is_model(model) else {}
    places = {key: f"{block}.{key}" for block in blocks for key in fields_of(blocks[block])}
    return {places.get(key, key): value for key, value in settings.items()}


def _shared(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The settings that both models have, in the order of the first."""
    one, two = settings.values()
    return {name: {key: has[key] for key in one if key in two} for name, has in settings.items()}


def _unshared(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each model with settings that the other lacks."""
    for name, other in permutations(settings):
        alone = {
            k: v for k, v in settings[name].items() if v is not None and k not in settings[other]
        }
        if alone:
            texts = "; ".join(f"{key} {_cell(value)}" for key, value in alone.items())
            yield f"Only {name} has: {literal(texts)}.\n"


def _differing(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of the rows in which the first two columns differ; '' if there are none."""
    table = pd.DataFrame(columns, dtype=object).map(_cell)
    table = table[table.iloc[:, 0] != table.iloc[:, 1]]
    return "" if table.empty else markdown_table(table.rename_axis("").reset_index())


def _text(metric: str, entry: Entry | None) -> str:
    return with_interval(entry, BY_NAME[metric].digits + 1)


def _predictions(metrics: Path) -> pa.Table:
    """The predictions beside a model's metrics."""
    path = metrics.with_name("valid_predictions.parquet")
    return read_predictions(path, full_name=folder_name(path))


def _rows(predictions: pa.Table) -> Predictions:
    label, logit = (predictions[name].to_numpy() for name in ("label", "logit"))
    return Predictions.of(label, logit, float(metadata_of(predictions)["click_rate"]))


def _auc(predictions: pa.Table) -> Auc:
    return Auc.of(predictions["label"].to_numpy(), predictions["logit"].to_numpy())


def _check_same_rows(one: Path, rows: pa.Table, other: Path, other_rows: pa.Table) -> None:
    if not rows["row"].equals(other_rows["row"]):
        raise UserError(
            f"{one} and {other} were measured on different rows; delete both, and the predictions "
            f"beside them, and run the same command again"
        )


def _cell(value: Any) -> str:
    """A value as a text; NaN or None as ''."""
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_cell(each)}" for key, each in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if pd.isna(value):
        return ""
    return f"{value:,.5g}" if isinstance(value, float) else str(value)
