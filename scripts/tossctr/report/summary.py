"""The summary page: which model is best, by how much, and what to submit."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..catalog.model_kinds import is_model
from ..common.errors import some_of
from ..common.files import Output
from ..config.names import BLEND, FEW_CLICKS, SIGNIFICANCE
from ..describe.alarms import read_alarms
from ..evaluate.metric_table import BY_NAME, Metric
from .page import (
    BARS,
    SIMULATED,
    alarms_text,
    column_text,
    difference_text,
    interval_panels,
    literal,
    markdown_table,
    plots_text,
    save,
    short,
    texts,
    write_page,
)


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
    has_test: bool = True,
) -> None:
    """Draw all models by the table's score, and write the page as Markdown and as HTML.

    The page also shows `importances`, plots of single models. `facts` are those of the data by
    size; `submitting` has the models that submit by size. `refit` and `split` are settings.
    Without a test file (`has_test`) nothing can be submitted yet.
    """
    models = pd.read_csv(comparison)
    save(models_plot(models), plot)
    decisions: list[str] = []
    statements = [_held_out(split)]
    if not has_test:
        statements.insert(0, "A submission needs a test file, and `raw.test` is null.")
    for size, rivals in models.groupby("size", sort=False):
        chosen, decision = _decision(rivals, submitting[size])
        how = f"`snakemake --cores 4 results/submission_{size}.csv` submits it."
        if chosen != BLEND and [chosen] != [*submitting[size]]:
            change = f"{{submission_models: [{chosen}], submission_weights: auto}}"
            how = f"With `sizes: {{{size}: {change}}}` in the config, {how}"
        statements += [f"{decision} {how}" if decisions else how]
        statements += _about(rivals, submitting[size], refit)
        decisions.append(decision)
    sections = [f"{decisions[0]}\n", "# Click models on their validation rows\n"]
    if models["simulated_data"].any():
        sections.append(SIMULATED)
    sections += ["\n".join(f"- {line}" for line in statements), ""]
    for path in facts:
        page = os.path.relpath(path.with_suffix(".md"), summary.parent)
        alarms = alarms_text(read_alarms(path))
        sections.append(f"## Alarms of the data: [{page}]({page})\n\n{alarms}")
    sections += ["## All models\n", _table(models), plots_text([plot, *importances], summary)]
    write_page("\n".join(sections), summary, view)


def _metric(models: pd.DataFrame) -> Metric:
    """What predictions of the table are scored by."""
    return BY_NAME[models["metric"].iloc[0]]


def models_plot(models: pd.DataFrame) -> Figure:
    """All models by the table's score, with intervals, by size, in the order of comparison.csv."""
    panels, metric = {}, _metric(models)
    columns = [metric.name, f"{metric.name}_low", f"{metric.name}_high", "behind_p_value"]
    form = f"   {{:.{metric.digits}f}}".format
    for size, rows in models.groupby("size", sort=False):
        clicks, count = rows[["valid_clicks", "valid_rows"]].iloc[0]
        table = rows[columns].set_axis(["value", "low", "high", "p_value"], axis=1)
        names = rows["model"].map(short) + texts(rows[metric.name], form, "   unknown")
        panels[f"{clicks:,} clicks in {count:,} rows of size {size}"] = table.assign(name=names)
    figure = interval_panels(
        {"simulated_data": models["simulated_data"].any()},
        panels,
        f"{metric.heading[0].upper()}{metric.heading[1:]} of all models",
        "Compared with the best on the same rows; intervals of two that differ may overlap.",
        BARS,
        middle=np.nan,
        label=metric.heading,
    )
    # A constant's point would squeeze those of the other models; its number is enough.
    ends = models.loc[models["model"] != "constant", columns[:3]]
    if len(ends):
        low, high = ends.min().min(), ends.max().max()
        gap = 0.05 * (high - low) or 0.01
        figure.axes[0].set_xlim(low - gap, high + gap)
    return figure


def _decision(rivals: pd.DataFrame, submitting: Sequence[str]) -> tuple[str, str]:
    """What a size should submit, and the sentence that says so and why.

    `rivals` are the size's rows of comparison.csv, the best first. `submitting` are the models that
    the config submits. A model is level with the best unless the p-value of the difference,
    corrected for the number of models, is below SIGNIFICANCE.
    """
    best, names = rivals.iloc[0], rivals["model"]
    configured = BLEND if len(submitting) > 1 else submitting[0]
    called = {BLEND: f"the blend of {' and '.join(submitting)}"}
    if not best["enough_clicks"]:
        return configured, (
            f"**Submit {called.get(configured, configured)}, as configured**: "
            f"{best['valid_clicks']:,} clicks among {best['valid_rows']:,} rows cannot tell models "
            f"apart, {FEW_CLICKS} are needed, and as many rows without one."
        )
    level = rivals["behind_p_value"] >= SIGNIFICANCE  # the best is level with itself
    can_submit = names.map(is_model) | (names == configured)
    candidates = [*names[can_submit & level]] or [*names[can_submit]]
    chosen = configured if configured in candidates else candidates[0]
    missing = "" if configured in [*names] else f"{configured}, as configured, is not trained; "
    baseline = "" if can_submit.iloc[0] else ", which cannot be submitted,"
    why = f"{missing}{best['model']}{baseline} is best"
    for phrase, some in (("level with it", level), ("significantly worse", ~level)):
        others = [*names[some & (names != best["model"])]]
        why += f"; {phrase}: {some_of(others, 5)}" if others else ""
    counts = f"{best['valid_clicks']:,} clicks, by {_metric(rivals).heading}"
    return chosen, f"**Submit {called.get(chosen, chosen)}**: {why} ({counts})."


def _held_out(split: Mapping[str, Any]) -> str:
    """How the validation rows were held out, and their other uses."""
    if split["time"]:
        if_one = " (others if all have the same, said in the log)" if split["is_auto"] else ""
        held_out = f"the newest by {literal(split['time'])}{if_one}"
    elif split["group"]:
        held_out = f"those of {literal(split['group'])} that are not in the train rows"
    else:
        held_out = (
            "drawn at random, so they share days and users with the train rows: where the test "
            "rows do not, every metric is too good (`sampling.split`, the table's time or group)"
        )
    return (
        f"The validation rows are {held_out}. They also chose each model's epoch, tuned "
        f"settings and fitted weights, so these metrics are a little too good."
    )


def _about(rivals: pd.DataFrame, submitting: Sequence[str], refit: bool) -> Iterator[str]:
    """The rows of a size, how good its best model is, and what the config submits."""
    best, metric = rivals.iloc[0], _metric(rivals)
    source = "simulated" if best["simulated_data"] else "real"
    yield (
        f"Size {best['size']}: {len(rivals)} models, measured on {best['valid_rows']:,} {source} "
        f"rows with {best['valid_clicks']:,} clicks, which they did not learn from."
    )
    if best["enough_clicks"]:
        yield f"Best {metric.heading}: **{best['model']}**, {column_text(best, metric.name)}."
        if not pd.isna(best["auc_ablated"]):
            yield (
                f"Without histories its AUC is {best['auc_ablated']:.4f}: they are worth "
                f"{difference_text(best, 'histories')}."
            )
    again = ", trained again on validation rows too, after the metrics here were measured"
    yield f"The config submits {' + '.join(submitting)}{again if refit else ''}."
    for _, row in rivals[rivals["model"] == BLEND].iterrows():
        weights = re.sub(r"=(\S+)", lambda match: f"={float(match[1]):.2g}", row["settings"])
        yield (
            f"The blend has the weights {weights}. By {metric.heading} it gains "
            f"{difference_text(row, 'gain_over_best')}, over {row['best_model']}, the best model "
            f"in it, on rows that the weights were not fitted to."
        )


def _table(models: pd.DataFrame) -> str:
    """The models with what decides between them, and notes on the columns."""
    metric = _metric(models)
    is_worse = models["behind_p_value"] < SIGNIFICANCE
    scores = {
        each.heading: texts(models[each.name], f"{{:.{each.digits}f}}".format)
        for each in (metric, BY_NAME["logloss"])
    }
    columns = {
        "model": models["size"] + " " + models["model"],
        **scores,
        "AUC": models.apply(column_text, axis=1, name="auc"),
        "behind": models.apply(column_text, axis=1, name="behind") + np.where(is_worse, " *", ""),
        "train rows": texts(models["train_rows"], "{:,.0f}".format),
        "train": texts(models["train_seconds"], "{:.0f} s".format),
        "MiB": texts(models["peak_memory_mib"], "{:,.0f}".format),
    }
    return (
        f"{markdown_table(pd.DataFrame(columns))}\n"
        f"Behind: by how much the model's {metric.heading} ({metric.note}) is worse than the best "
        f"of the same size, on the same rows; \\* marks a significant difference "
        f"(p < {SIGNIFICANCE}, corrected for the number of models by Holm). Intervals are of 95 %; "
        f"there are none with fewer than {FEW_CLICKS} clicks. MiB: peak memory of the training.\n"
    )
