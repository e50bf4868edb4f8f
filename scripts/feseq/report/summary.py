"""The summary page: which model is best, by how much, and what to submit."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..catalog.families import is_model
from ..common.files import Output
from ..config.names import BLEND, FEW_CLICKS, SIGNIFICANCE
from ..describe.alarms import read_alarms
from ..evaluate.metrics import BALANCED, BY_NAME, METRICS, Metric
from .page import (
    SIMULATED,
    alarms_text,
    column_text,
    difference_text,
    literal,
    markdown_table,
    plots_text,
    texts,
    write_page,
)
from .plots.style import BARS, interval_panels, save, short


def write_summary(
    comparison: Path,
    importances: list[Path],
    facts: list[Path],
    plot: Output,
    summary: Output,
    view: Output,
    *,
    submitting: Mapping[str, Sequence[str]],
    prior: str,
    refit: bool,
    split: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    has_test: bool = True,
    options: Sequence[str] = (),
) -> None:
    """Draw all models by the table's score, and write the page as Markdown and as HTML.

    The page also shows `importances`, plots of single models. `facts` are those of the data by
    size; `submitting` has the models that submit by size. `prior`, `refit`, `split` and
    `evaluation` are settings; `options` are those of Snakemake that override the workflow's own
    config. Without a test file (`has_test`) nothing can be submitted yet.
    """
    models = pd.read_csv(comparison)
    save(models_plot(models), plot)
    statements = [_held_out(split)]
    decisions = []
    for size, rivals in models.groupby("size", sort=False):
        names = submitting[size]
        baselines = {*evaluation["baselines"]} - {*names}
        rivals["group"] = rivals["kind"].mask(rivals["model"].isin(baselines), "baseline")
        command = shlex.join(
            ["snakemake", "--cores", "4", f"results/submission_{size}.csv", *options]
        )
        chosen, decision = _decision(rivals, names)
        decisions.append(decision)
        how = _how(size, chosen, names, command)
        statements += [f"{decision} {how}"] if len(decisions) > 1 else [how]
        statements += [_task(rivals), *_best_model(rivals)]
        statements += _submission(rivals, names, prior, refit)
    if not has_test:
        statements.insert(0, "A submission needs a test file, and `raw.test` is null.")
    sections = [f"{decisions[0]}\n", "# Click models on their validation rows\n"]
    if models["simulated_data"].any():
        sections.append(SIMULATED)
    sections += ["\n".join(f"- {line}" for line in statements), ""]
    for path in facts:
        page = os.path.relpath(path.with_suffix(".md"), summary.parent)
        alarms = alarms_text(read_alarms(path))
        sections.append(f"## Alarms of the data: [{page}]({page})\n\n{alarms}")
    table = _table(models)
    sections += ["## All models\n", markdown_table(table), _notes(table, _metric(models))]
    sections.append(plots_text([plot, *importances], summary))
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
    ends = models[models["model"] != "constant"]
    if len(ends):
        values = ends[columns[:3]]
        gap = 0.05 * (values.max().max() - values.min().min()) or 0.01
        figure.axes[0].set_xlim(values.min().min() - gap, values.max().max() + gap)
    return figure


def _decision(rivals: pd.DataFrame, submitting: Sequence[str]) -> tuple[str, str]:
    """What a size should submit, and the sentence that says so and why.

    `rivals` are the size's rows of comparison.csv, the best first, each with its `group`.
    `submitting` are the models that the config submits. A model is level with the best unless the
    p-value of the difference, corrected for the number of models, is below SIGNIFICANCE.
    """
    best, metric = rivals.iloc[0], _metric(rivals)
    name = BLEND if len(submitting) > 1 else submitting[0]
    counts = f"{best['valid_clicks']:,} clicks, by {metric.heading}"
    if not best["enough_clicks"]:
        return name, (
            f"**Submit {_called(name, submitting)}, as configured**: {best['valid_clicks']:,} "
            f"clicks among {best['valid_rows']:,} rows cannot tell models apart, {FEW_CLICKS} are "
            f"needed, and as many rows without one."
        )
    level = rivals["behind_p_value"] >= SIGNIFICANCE  # the best is level with itself
    can_submit = rivals["model"].map(is_model) | (rivals["model"] == name)
    candidates = rivals[can_submit & level]
    if candidates.empty:
        candidates = rivals[can_submit]
    is_kept = name in set(candidates["model"])
    chosen = name if is_kept else candidates["model"].iloc[0]
    phrases = [] if name in set(rivals["model"]) else [f"{name}, as configured, is not trained"]
    # All are compared with the best alone.
    is_best, is_level = chosen == best["model"], level[rivals["model"] == chosen].any()
    level_with, worse = "level with it", "significantly worse"
    if not is_best:
        level_with, worse = f"level with {best['model']}", f"{worse} than {best['model']}"
        if is_level:
            phrases.append(f"{best['model']}, the best, is level with it")
    for phrase, some in ((level_with, rivals[level]), (worse, rivals[~level])):
        is_named = some["model"].isin([chosen, best["model"]])
        shown = some[~is_named & ~_is_minor(some, submitting)]
        if len(shown):
            verb = "is" if len(shown) == 1 else "are"
            phrases.append(f"{_enumerated([*shown['model']])} {verb} {phrase}")
    if not is_level:
        phrases.insert(0, f"{best['model']}, which cannot be submitted, is significantly better")
    why = f": {'; '.join(phrases)}" if phrases else ""
    return chosen, f"**Submit {_called(chosen, submitting)}**{why} ({counts})."


def _is_minor(rivals: pd.DataFrame, submitting: Sequence[str]) -> pd.Series:
    """Models that the first sentence does not name: those that neither submit nor lead a group."""
    names = rivals["model"]
    leads = ~rivals.duplicated("group")
    return ~(names.isin(submitting) | (leads & (names != "constant")))


def _called(name: str, submitting: Sequence[str]) -> str:
    return f"the blend of {_enumerated(submitting)}" if name == BLEND else name


def _enumerated(names: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _how(size: str, chosen: str, submitting: Sequence[str], command: str) -> str:
    """The command that submits what was chosen."""
    if chosen == BLEND or [chosen] == [*submitting]:
        return f"`{command}` submits it."
    change = f"sizes: {{{size}: {{submission_models: [{chosen}], submission_weights: auto}}}}"
    return f"With `{change}` in the config, `{command}` submits it."


def _task(rivals: pd.DataFrame) -> str:
    """The task of a size: its models, and the rows to learn from and to measure on."""
    first, trained = rivals.iloc[0], rivals["train_rows"].max()
    source = "simulated" if first["simulated_data"] else "real"
    learned = "" if pd.isna(trained) else f", learned from {trained:,.0f} {source} rows"
    return (
        f"Size {first['size']}: {len(rivals)} models of the probability of a click{learned}, "
        f"measured on {first['valid_rows']:,} other {source} rows with {first['valid_clicks']:,} "
        f"clicks."
    )


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


def _best_model(rivals: pd.DataFrame) -> Iterator[str]:
    """How good the best model of a size is, compared with others on the same rows."""
    best = rivals.iloc[0]
    name, size = best["model"], best["size"]
    if best["enough_clicks"]:
        metric = _metric(rivals)
        auc = "" if metric.name == "auc" else f", with an AUC of {column_text(best, 'auc')}"
        yield (
            f"Best {metric.heading} of size {size}: **{name}**, "
            f"{column_text(best, metric.name)}{auc}."
        )
        is_other = ~rivals["group"].isin([best["group"], BLEND])
        for _, other in rivals[is_other].drop_duplicates("group").iterrows():
            yield (
                f"It is ahead of {other['model']}, the best {other['group']} model, by "
                f"{difference_text(other, 'behind')}."
            )
        if not pd.isna(best["auc_ablated"]):
            yield (
                f"Without histories its AUC is {best['auc_ablated']:.4f}: they are worth "
                f"{difference_text(best, 'histories')}."
            )
    if not pd.isna(best["share_of_best"]):
        yield (
            f"By the true probabilities, which are free of the clicks' noise, the AUC of {name} is "
            f"{best['expected_auc']:.4f} and the best possible {best['best_auc']:.4f}, or "
            f"{best['best_auc_of_new_users']:.4f} without knowing the users. It has "
            f"{best['share_of_best']:.1%} of what can be learned, (AUC - 0.5) / (best possible - "
            f"0.5)."
        )


def _submission(
    rivals: pd.DataFrame, submitting: Sequence[str], prior: str, refit: bool
) -> Iterator[str]:
    """What a size submits, the gain of the blend, and the odds."""
    is_blend, metric = len(submitting) > 1, _metric(rivals)
    submits = f"Size {rivals['size'].iloc[0]} submits {' + '.join(submitting)}"
    again = ", trained again on validation rows too, after the metrics here were measured"
    yield f"{submits}{again if refit else ''}."
    for _, row in rivals[rivals["model"] == (BLEND if is_blend else submitting[0])].iterrows():
        if is_blend:
            gain = difference_text(row, "gain_over_best")
            weights = re.sub(r"=(\S+)", lambda match: f"={float(match[1]):.2g}", row["settings"])
            yield (
                f"The blend has the weights {weights}. By {metric.heading} its gain over "
                f"{row['best_model']}, the best model in it, is {gain}, on rows that the weights "
                f"were not fitted to."
            )
        if metric.name == f"{BALANCED}score":
            yield (
                f"The competition's score 0.5 AP + 0.5 / (1 + WLL) of {row['model']} is "
                f"{row['score']:.4f} with observed and {row[metric.name]:.4f} with balanced odds, "
                f"which gain {difference_text(row, 'score_gain')}; the submission is at {prior} "
                f"odds."
            )
    if metric.depends_on_odds and metric.name != f"{BALANCED}score" and prior == "balanced":
        yield f"The {metric.heading} here is at observed odds, and the submission at balanced ones."


def _table(models: pd.DataFrame) -> pd.DataFrame:
    """The models with their main metrics and costs, as texts, without empty columns."""
    behind = models.apply(column_text, axis=1, name="behind")
    cells = pd.DataFrame(
        {
            "model": models["size"] + " " + models["model"],
            "clicks": models["valid_clicks"].map("{:,}".format),
            "AUC": models.apply(column_text, axis=1, name="auc"),
            "behind": behind + np.where(models["behind_p_value"] < SIGNIFICANCE, " *", ""),
        }
    )
    forms = {"agreement": ("agreement", "{:.3f}")}
    forms |= {
        metric.heading: (metric.name, f"{{:.{metric.digits}f}}")
        for metric in (*METRICS[1:], BY_NAME[f"{BALANCED}score"])
    }
    forms |= {
        "share": ("share_of_best", "{:.3f}"),
        "negatives kept": ("negative_share", "{:.2g}"),
        "features": ("features", "{}"),
        "train": ("train_seconds", "{:.0f} s"),
        "MiB": ("peak_memory_mib", "{:,.0f}"),
    }
    for heading, (name, form) in forms.items():
        if name in models:
            cells[heading] = texts(models[name], form.format)
    return cells.loc[:, (cells != "").any()]


def _notes(table: pd.DataFrame, metric: Metric) -> str:
    shown = [metric for metric in METRICS[1:] if metric.heading in table]
    metrics = " ".join(f"{m.heading[0].upper()}{m.heading[1:]}: {m.note}." for m in shown)
    return (
        "Clicks: those among the validation rows; each size has its own validation rows. "
        f"Intervals are of 95 %; there are none with fewer than {FEW_CLICKS} clicks. Behind: by "
        f"how much the model's {metric.heading}, by which the table is ordered, is worse than the "
        "best one of the same size, on the same rows; \\* marks a significant difference "
        f"(p < {SIGNIFICANCE}, corrected for the number of models by Holm). "
        "Agreement: the rank correlation of the predictions with those of the best model; of good "
        f"models, the one that agrees least adds most to a blend. {metrics} Balanced score: the "
        "score at the odds 50:50. Share: how much was learned of what can be learned from "
        "simulated data. Negatives kept: the share of the rows without a click that was trained "
        "on. Features: the sets that boosting has. MiB: peak memory of the training.\n"
    )
