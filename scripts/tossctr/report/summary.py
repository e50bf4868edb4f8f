"""Compare all models in a table, and write the summary: what to submit, and why."""

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
from ..common.errors import join_names
from ..common.files import Output, atomic_write, read_json
from ..common.parquet import metadata_of
from ..config.names import BLEND, FEW_CLICKS, SIGNIFICANCE, model_of_file, require_made_for
from ..describe.alarms import read_alarms
from ..evaluate.intervals import Entry, bootstrap, differences
from ..evaluate.metric_table import METRIC_BY_NAME, Metric, metrics_of, read_same_rows
from .page import (
    SIMULATED,
    alarms_text,
    collapsed_section,
    difference_text,
    escape_markdown,
    format_values,
    interval_panels,
    legend,
    markdown_table,
    plots_text,
    save_svg,
    shorten,
    value_text,
    write_page,
)


def write_comparison(metrics: list[Path], comparison: Output, *, metric: str) -> None:
    """Write a CSV with a row per model: metrics, difference to the best model, costs, settings.

    Sizes with more validation rows come first; within a size, better models by `metric`. `metrics`
    lists files results/{size}/{name}/metrics.json, whose folders have all other inputs. Raises
    UserError if a file is of another model, or if models of a size differ in validation rows.
    """
    models = pd.DataFrame([_row(path, metric) for path in metrics], metrics)
    # A missing value would turn integers into floats.
    models = models.astype({"train_rows": "Int64"})
    behind = [_behind([*rows.index], metric) for _, rows in models.groupby("size")]
    # A metric on few clicks must not lead the table, so larger sizes come first.
    models = models.join(pd.concat(behind)).sort_values(
        ["valid_rows", "size", metric, "model"],
        ascending=[False, True, METRIC_BY_NAME[metric].sign < 0, True],
    )
    with atomic_write(comparison) as temporary:
        models.to_csv(temporary, index=False, lineterminator="\n", float_format="%.8g")


def _row(path: Path, metric: str) -> dict[str, Any]:
    """A model's row, from metrics.json and training.json."""
    measured = read_json(path, kind="metrics.json", keys=("full_name", "metrics", "clicks"))
    require_made_for(path, measured["full_name"], model_of_file(path))
    training = read_json(path.with_name("training.json"))
    size, name = path.absolute().parts[-3:-1]
    # Spaces separate settings, so values have none.
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
    """Entries of metrics.json as columns `name`, `name_low`, `name_high`, maybe `name_p_value`."""
    return {
        name if key == "value" else f"{name}_{key}": number
        for name, entry in entries.items()
        for key, number in (entry or dict.fromkeys(("value", "low", "high"))).items()
    }


def _behind(metrics: list[Path], metric: str) -> pd.DataFrame:
    """How much worse each model of one size is than the best by `metric`, with an interval."""
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
    """Write the summary of all models: a `plot`, a page in Markdown (`summary`) and HTML (`view`).

    `comparison` is comparison.csv, `importances` are plots for the page, and `facts` has a
    data.json for each size. `submitting` has the names of the submission models by size; with
    `refit`, they are retrained on all labelled rows. `split` names the time and group columns,
    `label` the label column. Without `has_test`, nothing is submitted or retrained.
    """
    models = pd.read_csv(comparison)
    save_svg(models_plot(models), plot)
    decisions: list[str] = []
    statements = [_split_statement(split, facts)]
    if "click" not in label:
        statements.append(f"A click is a row whose label {escape_markdown(label)} is positive.")
    if not has_test:
        statements.append("There is no submission, since `raw.test` is null.")
    for size, rivals in models.groupby("size", sort=False):
        chosen, decision = _decision(rivals, submitting[size], "Submit" if has_test else "Use")
        target = f"results/submission_{size}.csv"
        how = [f"`snakemake --cores 4 {target}`, with this run's options, writes this submission."]
        if chosen != BLEND and [chosen] != [*submitting[size]]:
            change = f"{{submission_models: [{chosen}], submission_weights: auto}}"
            how = [f"With `sizes: {{{size}: {change}}}` in the config, {how[0]}"]
        if not has_test:
            how = []
        statements += [" ".join([decision, *how])] if decisions else how
        statements += _statements(rivals, submitting[size], refit and has_test)
        decisions.append(decision)
    sections = ["# Click models on their validation rows\n", f"{decisions[0]}\n"]
    if models["simulated_data"].any():
        sections.append(SIMULATED)
    sections += [plots_text([plot], summary), "## All models\n", _table(models)]
    for path in facts:
        page = os.path.relpath(path.with_suffix(".md"), summary.parent)
        alarms = alarms_text(read_alarms(path))
        sections.append(f"## Alarms: [data of size {path.parent.name}]({page})\n\n{alarms}")
    listed = "\n".join(f"- {line}" for line in statements)
    sections.append(collapsed_section("The submission, and how far to trust the metrics", listed))
    if importances:
        sections.append(
            collapsed_section("Importance of columns", plots_text(importances, summary))
        )
    write_page("\n".join(sections), summary, view)


def _metric(models: pd.DataFrame) -> Metric:
    """The metric that ranks the models."""
    return METRIC_BY_NAME[models["metric"].iloc[0]]


def models_plot(models: pd.DataFrame) -> Figure:
    """A plot of the models' scores with intervals: a panel per size, ordered like comparison.csv.

    The baseline `constant` is not drawn, since its low score would squeeze the other models.
    """
    panels, metric = {}, _metric(models)
    columns = [metric.name, f"{metric.name}_low", f"{metric.name}_high", "behind_p_value"]
    form = f"   {{:.{metric.digits}f}}".format
    for size, rows in models[models["model"] != "constant"].groupby("size", sort=False):
        clicks, count = rows[["valid_clicks", "valid_rows"]].iloc[0]
        table = rows[columns].set_axis(["value", "low", "high", "p_value"], axis=1)
        names = rows["model"].map(shorten) + format_values(rows[metric.name], form, "   unknown")
        panels[f"{clicks:,} clicks in {count:,} rows of size {size}"] = table.assign(name=names)
    return interval_panels(
        {"simulated_data": models["simulated_data"].any()},
        panels,
        f"{metric.heading[0].upper()}{metric.heading[1:]} of the models",
        "Each model is compared with the best on the same rows, so differences can be significant "
        "although intervals overlap.",
        "The baseline constant is not drawn.",
        middle=np.nan,
        label=metric.heading,
    )


def _decision(rivals: pd.DataFrame, submitting: Sequence[str], verb: str) -> tuple[str, str]:
    """The model or blend to submit for a size, and a sentence with the reason.

    `rivals` are the size's rows of comparison.csv, the best first. `submitting` are the configured
    submission models.
    """
    best, names = rivals.iloc[0], rivals["model"]
    configured = BLEND if len(submitting) > 1 else submitting[0]
    called = {BLEND: f"the blend of {' and '.join(submitting)}"}
    counts = f"{best['valid_clicks']:,} clicks in {best['valid_rows']:,} validation rows"
    if not best["enough_clicks"]:
        return configured, (
            f"**{verb} {called.get(configured, configured)}**, as configured. Comparing models "
            f"needs {FEW_CLICKS} clicks and as many negatives; there are {counts}."
        )
    is_level = rivals["behind_p_value"] >= SIGNIFICANCE  # also true of the best
    can_submit = names.map(is_model) | (names == configured)
    candidates = [*names[can_submit & is_level]] or [*names[can_submit]]
    chosen = configured if configured in candidates else candidates[0]
    is_tied = chosen == configured != best["model"] and chosen in [*names[is_level]]
    why = ", as configured: no model is significantly better." if is_tied else "."
    why += "" if configured in [*names] else f" The configured {configured} is not trained."
    baseline = "" if can_submit.iloc[0] else ", which cannot be submitted"
    why += f" Best {_metric(rivals).heading} on {counts}: {best['model']}{baseline}."
    for phrase, is_listed in (("Not significantly", is_level), ("Significantly", ~is_level)):
        listed = [*names[is_listed & (names != best["model"])]]
        why += f" {phrase} worse: {join_names(listed, 5)}." if listed else ""
    if "constant" in [*names[is_level]]:
        why += " No model is significantly better than a constant, the click rate."
    return chosen, f"**{verb} {called.get(chosen, chosen)}**{why}"


def _split_statement(split: Mapping[str, Any], facts: Sequence[Path]) -> str:
    """How the validation rows were held out, and what else they were used for."""
    # `sampling.split: auto` ignores a time or group that is the same in all rows.
    by = {read_json(path)["split_by"] for path in facts}
    if by == {"time"}:
        held_out = f"the newest by {escape_markdown(split['time'])}"
    elif by == {"group"}:
        held_out = f"rows with a {escape_markdown(split['group'])} that no train row has"
    else:
        held_out = (
            "drawn at random. If the test rows are later, or of other users, every metric is too "
            "good: set columns.time or columns.group in the table file"
        )
    return (
        f"The validation rows are {held_out}. Epochs and tuned settings were chosen "
        f"on these rows, so the metrics are a little too good."
    )


def _statements(rivals: pd.DataFrame, submitting: Sequence[str], refit: bool) -> Iterator[str]:
    """Yield statements on histories, configured models and the blend of a size."""
    best = rivals.iloc[0]
    if best["enough_clicks"] and not pd.isna(best["auc_ablated"]):
        yield (
            f"With all histories ablated, the AUC of {best['model']} is {best['auc_ablated']:.4f}: "
            f"histories are worth {difference_text(best, 'histories')}."
        )
    again = " For the submission, these models are also trained on the validation rows."
    yield f"Configured `submission_models`: {' + '.join(submitting)}.{again if refit else ''}"
    for _, row in rivals[rivals["model"] == BLEND].iterrows():
        weights = re.sub(r"=(\S+)", lambda match: f"={float(match[1]):.2g}", row["settings"])
        gain = (
            f" Its gain in {_metric(rivals).heading} over its best model, {row['best_model']}, is "
            f"{difference_text(row, 'gain_over_best')}. Fitted weights are cross-validated: each "
            f"row has weights fitted to other rows."
        )
        yield f"The blend has the weights {weights}.{gain if row['enough_clicks'] else ''}"


def _table(models: pd.DataFrame) -> str:
    """The table of models with scores and costs, and its legend."""
    metric = _metric(models)
    is_worse = models["behind_p_value"] < SIGNIFICANCE
    behind = models.apply(value_text, axis=1, name="behind").mask(models["behind"] == 0, "best")
    columns = {
        "model": models["size"] + " " + models["model"],
        metric.heading: models.apply(value_text, axis=1, name=metric.name, digits=metric.digits),
        "behind": behind + np.where(is_worse, " *", ""),
        "AUC": models.apply(value_text, axis=1, name="auc"),
        "train rows": format_values(models["train_rows"], "{:,.0f}".format),
        "training": format_values(models["train_seconds"], "{:.0f} s".format),
        "peak MiB": format_values(models["peak_memory_mib"], "{:,.0f}".format),
    }
    meanings = {
        metric.heading: f"{metric.meaning}, with a 95 % interval given {FEW_CLICKS} or more clicks",
        "behind": f"how much worse the {metric.heading} is than the size's best {metric.heading}; "
        f"\\* marks a significant difference (p < {SIGNIFICANCE} after Holm's correction for the "
        f"number of models; intervals are not corrected)",
        "AUC": METRIC_BY_NAME["auc"].meaning,
        "train rows": "rows used in training (narrow screens hide this and later columns)",
        "training": "duration of the training",
        "peak MiB": "peak memory of the training",
    }
    return f"{markdown_table(pd.DataFrame(columns))}\n{legend(meanings)}"
