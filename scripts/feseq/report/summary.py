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
from ..evaluate.metrics import BALANCED, BY_NAME, METRICS
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
    aucs: Output,
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
    """Draw the AUCs of all models, and write the page as Markdown and as HTML.

    The page also shows `importances`, plots of single models. `facts` are those of the data by
    size; `submitting` has the models that submit by size. `prior`, `refit`, `split` and
    `evaluation` are settings; `options` are those of Snakemake that override the workflow's own
    config. Without a test file (`has_test`) nothing can be submitted yet.
    """
    models = pd.read_csv(comparison)
    save(aucs_plot(models), aucs)
    statements = [_held_out(split, bool(models["on_holdout"].all()))]
    decisions = []
    for size, rivals in models.groupby("size", sort=False):
        names = submitting[size]
        baselines = {*evaluation["baselines"]} - {*names}
        rivals["group"] = rivals["kind"].mask(rivals["model"].isin(baselines), "baseline")
        target = f"results/submission_{size}.csv"
        command = shlex.join(["snakemake", "--cores", "4", target, *options])
        decisions.append(_decision(rivals, names, command))
        statements += [*decisions[1:][-1:], _task(rivals), *_best_model(rivals)]
        statements += _submission(rivals, names, prior, refit)
    lacking = "" if has_test else " That needs a test file, and `raw.test` is null."
    sections = [f"{decisions[0]}{lacking}\n", "# Click models on their validation rows\n"]
    if models["simulated_data"].any():
        sections.append(SIMULATED)
    sections += ["\n".join(f"- {line}" for line in statements), ""]
    for path in facts:
        page = os.path.relpath(path.with_suffix(".md"), summary.parent)
        alarms = alarms_text(read_alarms(path))
        sections.append(f"## Alarms of the data: [{page}]({page})\n\n{alarms}")
    table = _table(models)
    sections += ["## All models\n", markdown_table(table), _notes(table)]
    sections.append(plots_text([aucs, *importances], summary))
    write_page("\n".join(sections), summary, view)


def aucs_plot(models: pd.DataFrame) -> Figure:
    """All models' AUCs with their intervals, by size, in the order of comparison.csv."""
    panels = {}
    columns = ["auc", "auc_low", "auc_high", "auc_behind_p_value"]
    for size, rows in models.groupby("size", sort=False):
        clicks, count = rows[["valid_clicks", "valid_rows"]].iloc[0]
        table = rows[columns].set_axis(["value", "low", "high", "p_value"], axis=1)
        names = rows["model"].map(short) + texts(rows["auc"], "   {:.4f}".format, "   no AUC")
        panels[f"{clicks:,} clicks in {count:,} rows of size {size}"] = table.assign(name=names)
    figure = interval_panels(
        {"simulated_data": models["simulated_data"].any()},
        panels,
        "AUC of all models",
        "Compared with the best on the same rows; intervals of two that differ may overlap.",
        BARS,
        middle=np.nan,
        label="AUC",
    )
    # A point at 0.5 would squeeze those of the other models; its number is enough.
    ends = models[models["auc"] > 0.5]
    if len(ends):
        figure.axes[0].set_xlim(left=ends[["auc", "auc_low"]].min().min() - 0.01)
    return figure


def _decision(rivals: pd.DataFrame, submitting: Sequence[str], command: str) -> str:
    """What a size should submit and why, in one sentence.

    `rivals` are the size's rows of comparison.csv, the best AUC first, each with its `group`.
    `submitting` are the models that `command` submits. A model is significantly behind the best if
    the p-value of the difference, corrected for the number of models, is below SIGNIFICANCE.
    """
    best, is_blend = rivals.iloc[0], len(submitting) > 1
    size, name = best["size"], BLEND if is_blend else submitting[0]
    named = f"the blend of {', '.join(submitting)}" if is_blend else name
    reset = ", submission_weights: null" if is_blend else ""
    if not best["enough_clicks"]:
        return (
            f"**These rows cannot tell what to submit**: size {size} has "
            f"{best['valid_clicks']:,} clicks among its {best['valid_rows']:,} validation rows, "
            f"and {FEW_CLICKS} are needed, and as many rows without one; `{command}` submits "
            f"{named}, as configured."
        )

    def instead(model: str) -> str:
        return f"`sizes: {{{size}: {{submission_models: [{model}]{reset}}}}}` in the config"

    level = rivals[rivals["auc_behind_p_value"] >= SIGNIFICANCE]  # the best is level with itself
    trained, candidates = (rows[rows["model"].map(is_model)] for rows in (rivals, level))
    configured, baselines = rivals[rivals["model"] == name], rivals[rivals["group"] == "baseline"]
    shown = pd.concat([configured, baselines[:1]])
    reasons = [_standing(row, best) for _, row in shown.iterrows()]
    if configured.empty:
        reasons = [f"{named}, as configured, is not trained", *reasons]
    why = "; ".join(reasons)
    if configured.empty or (name not in set(level["model"]) and len(candidates)):
        # Without a level candidate, it is the best trained model; there is one.
        model = pd.concat([candidates, trained])["model"].iloc[0]
        return f"**Submit {model}**: with {instead(model)}, `{command}`; {why}."
    level_baselines = level[level["group"] == "baseline"]
    if level_baselines.empty:
        return f"**Submit {named}**: `{command}`; {why}."
    # A baseline that can be submitted, if there is one.
    can_submit = level_baselines["model"].map(is_model)
    baseline = pd.concat([level_baselines[can_submit], level_baselines])["model"].iloc[0]
    offer = f", or {baseline} with {instead(baseline)}" if is_model(baseline) else ""
    return (
        f"**No model is significantly better than {baseline}, a baseline**: `{command}` submits "
        f"{named}{offer}; {why}."
    )


def _standing(model: pd.Series, best: pd.Series) -> str:
    """The AUC of a model and how far it is behind the best."""
    text = f"{model['model']} has an AUC of {column_text(model, 'auc')}"
    if model["model"] == best["model"]:
        return f"{text}, the highest"
    return f"{text} and is behind {best['model']} by {difference_text(model, 'auc_behind')}"


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


def _held_out(split: Mapping[str, Any], on_holdout: bool) -> str:
    """How the validation rows were held out, and their other uses."""
    time, group = split["time"], split["group"]
    phrases = []
    if time:
        phrases.append(f"the newest by {literal(time)}")
    if group:
        phrases.append(f"without a {literal(group)} that is in the train rows")
    phrases = phrases or [
        "drawn at random, so they share days and users with the train rows: where the test rows "
        "do not, every metric is too good (`sampling.split`)"
    ]
    chose = (
        "They chose nothing: each model's epoch was chosen on other held-out rows."
        if on_holdout
        else "They also chose each model's epoch, tuned settings and fitted weights, so these "
        "metrics are a little too good; `sampling.holdout_share` reserves some for reporting."
    )
    return f"The validation rows are {', '.join(phrases)}. {chose}"


def _best_model(rivals: pd.DataFrame) -> Iterator[str]:
    """How good the best model of a size is, compared with others on the same rows."""
    best = rivals.iloc[0]
    name, size = best["model"], best["size"]
    if best["enough_clicks"]:
        yield f"Highest AUC of size {size}: **{name}**, {column_text(best, 'auc')}."
        is_other = ~rivals["group"].isin([best["group"], BLEND])
        for _, other in rivals[is_other].drop_duplicates("group").iterrows():
            yield (
                f"It is ahead of {other['model']}, the best {other['group']} model, by "
                f"{difference_text(other, 'auc_behind')}."
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
    is_blend = len(submitting) > 1
    submits = f"Size {rivals['size'].iloc[0]} submits {' + '.join(submitting)}"
    again = ", trained again on validation rows too, after the metrics here were measured"
    yield f"{submits}{again if refit else ''}."
    for _, row in rivals[rivals["model"] == (BLEND if is_blend else submitting[0])].iterrows():
        if is_blend:
            odds = BALANCED if prior == "balanced" else ""
            gain = difference_text(row, f"{odds}score_gain_over_best")
            weights = re.sub(r"=(\S+)", lambda match: f"={float(match[1]):.2g}", row["settings"])
            yield (
                f"The blend has the weights {weights}. Its competition score differs from that of "
                f"{row['best_model']}, the best model in it, by {gain}, on rows that the weights "
                f"were not fitted to."
            )
        yield (
            f"The competition's score 0.5 AP + 0.5 / (1 + WLL) of {row['model']} is "
            f"{row['score']:.4f} with observed and {row[f'{BALANCED}score']:.4f} with balanced "
            f"odds, which gain {difference_text(row, 'score_gain')}; `submission.prior` is {prior}."
        )


def _table(models: pd.DataFrame) -> pd.DataFrame:
    """The models with their main metrics and costs, as texts, without empty columns."""
    behind = models.apply(column_text, axis=1, name="auc_behind")
    cells = pd.DataFrame(
        {
            "model": models["size"] + " " + models["model"],
            "clicks": models["valid_clicks"].map("{:,}".format),
            "AUC": models.apply(column_text, axis=1, name="auc"),
            "behind": behind + np.where(models["auc_behind_p_value"] < SIGNIFICANCE, " *", ""),
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


def _notes(table: pd.DataFrame) -> str:
    shown = [metric for metric in METRICS[1:] if metric.heading in table]
    metrics = " ".join(f"{m.heading[0].upper()}{m.heading[1:]}: {m.note}." for m in shown)
    return (
        "Clicks: those among the validation rows; each size has its own validation rows. "
        f"Intervals are of 95 %; there are none with fewer than {FEW_CLICKS} clicks. Behind: the "
        "best AUC of the same size minus the model's, on the same rows; \\* marks a significant "
        f"difference (p < {SIGNIFICANCE}, DeLong, corrected for the number of models by Holm). "
        "Agreement: the rank correlation of the predictions with those of the best model; of good "
        f"models, the one that agrees least adds most to a blend. {metrics} Balanced score: the "
        "score at the odds 50:50. Share: how much was learned of what can be learned from "
        "simulated data. Negatives kept: the share of the rows without a click that was trained "
        "on. Features: the sets that boosting has. MiB: peak memory of the training.\n"
    )
