"""All models compared: their table, and the page that says which is best and what to submit."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..catalog.model_kinds import is_model
from ..common.errors import shorten
from ..common.files import Output, atomic_write, read_json
from ..common.parquet import metadata_of
from ..config.names import BLEND, FEW_CLICKS, SIGNIFICANCE, folder_name, require_name
from ..describe.alarms import read_alarms
from ..evaluate.intervals import Entry, bootstrap, differences
from ..evaluate.metric_table import METRIC_BY_NAME, Metric, metrics_of, read_same_rows
from .page import (
    BARS,
    SIMULATED,
    alarms_text,
    column_text,
    difference_text,
    folded,
    interval_panels,
    legend,
    literal,
    markdown_table,
    plots_text,
    save,
    short,
    texts,
    write_page,
)


def write_comparison(metrics: list[Path], comparison: Output, *, metric: str) -> None:
    """Write a CSV row per model: metrics, how far it is behind the best, costs and settings.

    The size with the most validation rows comes first, and within a size the best model by
    `metric`, the table's score. `metrics` are files results/{size}/{name}/metrics.json, with each
    model's other files beside them. Raises UserError if a file is of another model, or if models of
    a size have different rows.
    """
    models = pd.DataFrame([_row(path, metric) for path in metrics], metrics)
    # Models without a value would make these integers floats.
    models = models.astype({"train_rows": "Int64"})
    behind = [_behind([*rows.index], metric) for _, rows in models.groupby("size")]
    # Sizes have different validation rows: a metric on few clicks must not lead the table.
    models = models.join(pd.concat(behind)).sort_values(
        ["valid_rows", "size", metric, "model"],
        ascending=[False, True, METRIC_BY_NAME[metric].sign < 0, True],
    )
    with atomic_write(comparison) as temporary:
        models.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")


def _row(path: Path, metric: str) -> dict[str, Any]:
    """The row of a model's metrics.json and of the files beside it."""
    measured = read_json(path, kind="metrics.json", keys=("full_name", "metrics", "clicks"))
    require_name(path, measured["full_name"], folder_name(path))
    training = read_json(path.with_name("training.json"))
    size, name = path.absolute().parts[-3:-1]
    # Spaces separate the settings, so they are removed from values.
    settings = training.get("settings", {}).items()
    return {
        "size": size,
        "model": name,
        "metric": metric,
        "valid_rows": measured["rows"],
        "valid_clicks": measured["clicks"],
        **{key: measured[key] for key in ("simulated_data", "enough_clicks", "auc_ablated")},
        **_flat(measured["metrics"]),
        **_flat({"histories": measured["histories"]}),
        "best_model": measured["best_model"],
        **_flat({"gain_over_best": (measured["gain_over_best"] or {}).get(metric)}),
        "train_rows": training.get("train_rows"),
        "train_seconds": training.get("seconds"),
        "peak_memory_mib": training.get("peak_memory_bytes", np.nan) / 2**20,
        "settings": " ".join(f"{key}={value}".replace(" ", "") for key, value in settings),
    }


def _flat(entries: Mapping[str, Entry | None]) -> dict[str, Any]:
    """Entries of metrics.json as columns: `name`, `name_low`, `name_high`, any `name_p_value`."""
    return {
        name if key == "value" else f"{name}_{key}": number
        for name, entry in entries.items()
        for key, number in (entry or dict.fromkeys(("value", "low", "high"))).items()
    }


def _behind(metrics: list[Path], metric: str) -> pd.DataFrame:
    """How far each model of a size is behind the best by a metric, with an interval.

    All models predict the same rows, so the noise that they share cancels out.
    """
    tables = read_same_rows([path.with_name("valid_predictions.parquet") for path in metrics])
    measure = partial(metrics_of, [metric], click_rate=float(metadata_of(tables[0])["click_rate"]))
    logits = [table["logit"].to_numpy() for table in tables]
    values, samples = bootstrap(tables[0]["label"].to_numpy(), logits, measure)
    values, samples = METRIC_BY_NAME[metric].sign * values, METRIC_BY_NAME[metric].sign * samples
    best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
    behind = [_flat({"behind": entry}) for (entry,) in differences(values, samples, best)]
    return pd.DataFrame(behind, metrics)


def write_summary(
    comparison: Path,
    importances: list[Path],
    facts: list[Path],
    plot: Output,
    summary: Output,
    view: Output,
    *,
    submitting: Mapping[str, Sequence[str]],
    refit: bool,
    split: Mapping[str, Any],
    label: str = "clicked",
    has_test: bool = True,
) -> None:
    """Draw all models by the table's score, and write the page as Markdown and as HTML.

    The page also shows `importances`, plots of single models. `facts` are the sizes' data.json;
    `submitting` has, by size, the models in the submission; without a test table nothing is
    submitted or retrained. The rest are settings.
    """
    models = pd.read_csv(comparison)
    save(models_plot(models), plot)
    decisions: list[str] = []
    statements = [_held_out(split)]
    if "click" not in label:
        statements.append(f"A click is a row with the label {literal(label)}.")
    if not has_test:
        statements.append("There is no submission, since `raw.test` is null.")
    for size, rivals in models.groupby("size", sort=False):
        chosen, decision = _decision(rivals, submitting[size], "Submit" if has_test else "Use")
        how = [f"`snakemake --cores 4 results/submission_{size}.csv` writes this submission."]
        if chosen != BLEND and [chosen] != [*submitting[size]]:
            change = f"{{submission_models: [{chosen}], submission_weights: auto}}"
            how = [f"With `sizes: {{{size}: {change}}}` in the config, {how[0]}"]
        if not has_test:
            how = []
        statements += [" ".join([decision, *how])] if decisions else how
        statements += _about(rivals, submitting[size], refit and has_test)
        decisions.append(decision)
    sections = [f"{decisions[0]}\n", "# Click models on their validation rows\n"]
    if models["simulated_data"].any():
        sections.append(SIMULATED)
    sections += [plots_text([plot], summary), "## All models\n", _table(models)]
    for path in facts:
        page = os.path.relpath(path.with_suffix(".md"), summary.parent)
        alarms = alarms_text(read_alarms(path))
        sections.append(f"## Alarms of the data: [{page}]({page})\n\n{alarms}")
    known = "\n".join(f"- {line}" for line in statements)
    sections.append(folded("The submission, and how far to trust the metrics", known))
    if importances:
        sections.append(folded("Importance of columns", plots_text(importances, summary)))
    write_page("\n".join(sections), summary, view)


def _metric(models: pd.DataFrame) -> Metric:
    """The metric that the table is scored by."""
    return METRIC_BY_NAME[models["metric"].iloc[0]]


def models_plot(models: pd.DataFrame) -> Figure:
    """The models' scores with intervals, a panel per size, in the order of comparison.csv.

    `constant` is left out, since its point would squeeze the others together.
    """
    panels, metric = {}, _metric(models)
    columns = [metric.name, f"{metric.name}_low", f"{metric.name}_high", "behind_p_value"]
    form = f"   {{:.{metric.digits}f}}".format
    for size, rows in models[models["model"] != "constant"].groupby("size", sort=False):
        clicks, count = rows[["valid_clicks", "valid_rows"]].iloc[0]
        table = rows[columns].set_axis(["value", "low", "high", "p_value"], axis=1)
        names = rows["model"].map(short) + texts(rows[metric.name], form, "   unknown")
        panels[f"{clicks:,} clicks in {count:,} rows of size {size}"] = table.assign(name=names)
    return interval_panels(
        {"simulated_data": models["simulated_data"].any()},
        panels,
        f"{metric.heading[0].upper()}{metric.heading[1:]} of the models",
        "Compared with the best on the same rows; two models may differ though intervals overlap.",
        BARS,
        middle=np.nan,
        label=metric.heading,
    )


def _decision(rivals: pd.DataFrame, submitting: Sequence[str], verb: str) -> tuple[str, str]:
    """The model or blend to submit for a size, and a sentence with the reason.

    `rivals` are the size's rows of comparison.csv, the best first. `submitting` are the models that
    the config submits. A model is level with the best unless the p-value of the difference,
    corrected for the number of models, is below SIGNIFICANCE.
    """
    best, names = rivals.iloc[0], rivals["model"]
    configured = BLEND if len(submitting) > 1 else submitting[0]
    called = {BLEND: f"the blend of {' and '.join(submitting)}"}
    if not best["enough_clicks"]:
        return configured, (
            f"**{verb} {called.get(configured, configured)}, as configured**: "
            f"{best['valid_clicks']:,} clicks among {best['valid_rows']:,} rows cannot tell models "
            f"apart; this takes {FEW_CLICKS} clicks and as many negatives."
        )
    level = rivals["behind_p_value"] >= SIGNIFICANCE  # the best is level with itself
    can_submit = names.map(is_model) | (names == configured)
    candidates = [*names[can_submit & level]] or [*names[can_submit]]
    chosen = configured if configured in candidates else candidates[0]
    missing = "" if configured in [*names] else f"{configured}, as configured, is not trained; "
    baseline = "" if can_submit.iloc[0] else ", which cannot be submitted,"
    why = f"{missing}{best['model']}{baseline} is best"
    kept = ""
    if chosen == configured != best["model"] and chosen in [*names[level]]:
        kept, why = ", as configured", f"no model is significantly better; {why}"
    for phrase, some in (("level with it", level), ("significantly worse", ~level)):
        others = [*names[some & (names != best["model"])]]
        why += f"; {phrase}: {shorten(others, 5)}" if others else ""
    counts = f"{best['valid_clicks']:,} clicks in {best['valid_rows']:,} rows"
    return chosen, (
        f"**{verb} {called.get(chosen, chosen)}**{kept}: {why} "
        f"({counts}, by {_metric(rivals).heading})."
    )


def _held_out(split: Mapping[str, Any]) -> str:
    """How the validation rows were held out, and their other uses."""
    if split["time"]:
        if_one = " (unless all have the same time, see the log)" if split["is_auto"] else ""
        held_out = f"the newest by {literal(split['time'])}{if_one}"
    elif split["group"]:
        held_out = f"those whose {literal(split['group'])} is not in the train rows"
    else:
        held_out = (
            "drawn at random. If the test rows are later, or of other users, every metric is too "
            "good: name the table's time, or its group"
        )
    return (
        f"The validation rows are {held_out}. Epochs, tuned settings and fitted weights were "
        f"chosen on the same rows, so these metrics are a little too good."
    )


def _about(rivals: pd.DataFrame, submitting: Sequence[str], refit: bool) -> Iterator[str]:
    """What histories are worth to a size's best model, and what the config submits."""
    best = rivals.iloc[0]
    if best["enough_clicks"] and not pd.isna(best["auc_ablated"]):
        yield (
            f"Without histories, {best['model']} has an AUC of {best['auc_ablated']:.4f}: "
            f"histories are worth {difference_text(best, 'histories')}."
        )
    again = ", retrained on validation rows too after these metrics were measured"
    yield f"The configured models are {' + '.join(submitting)}{again if refit else ''}."
    for _, row in rivals[rivals["model"] == BLEND].iterrows():
        weights = re.sub(r"=(\S+)", lambda match: f"={float(match[1]):.2g}", row["settings"])
        yield (
            f"The blend has the weights {weights}. Its gain in {_metric(rivals).heading} over "
            f"its best model, {row['best_model']}, is {difference_text(row, 'gain_over_best')}, on "
            f"rows that the weights were not fitted to."
        )


def _table(models: pd.DataFrame) -> str:
    """The table of models: scores, costs, and a legend."""
    metric = _metric(models)
    is_worse = models["behind_p_value"] < SIGNIFICANCE
    columns = {
        "model": models["size"] + " " + models["model"],
        metric.heading: models.apply(column_text, axis=1, name=metric.name, digits=metric.digits),
        "AUC": models.apply(column_text, axis=1, name="auc"),
        "behind": models.apply(column_text, axis=1, name="behind") + np.where(is_worse, " *", ""),
        "train rows": texts(models["train_rows"], "{:,.0f}".format),
        "train": texts(models["train_seconds"], "{:.0f} s".format),
        "MiB": texts(models["peak_memory_mib"], "{:,.0f}".format),
    }
    meanings = {
        metric.heading: f"{metric.note}, with a 95 % interval from {FEW_CLICKS} clicks on",
        "AUC": METRIC_BY_NAME["auc"].note,
        "behind": f"by how much the {metric.heading} is worse than the size's best on "
        f"the same rows; \\* marks a significant difference (p < {SIGNIFICANCE}, Holm's correction "
        f"for the number of models)",
        "train rows": "rows that the model learned from",
        "train": "duration of the training",
        "MiB": "peak memory of the training",
    }
    return f"{markdown_table(pd.DataFrame(columns))}\n{legend(meanings)}"
