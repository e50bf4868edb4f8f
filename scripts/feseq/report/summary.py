"""One page for a person: which model is best, by how much, and what to submit."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pandas as pd

from ..common.files import Output
from ..config.names import BLEND
from ..describe.alarms import read_alarms
from ..evaluate.intervals import LEAST_CLICKS, SIGNIFICANCE
from ..evaluate.metrics import BALANCED, BY_NAME, METRICS
from ..families import FAMILIES
from .decision import decision
from .page import (
    SIMULATED,
    alarms_text,
    column_text,
    counted,
    literal,
    markdown_table,
    texts,
    write_page,
)
from .plots import models as model_plots
from .plots.style import save

# Models in the table; the comparison has them all.
_MOST = 30
# What a reader learns from each plot.
_PLOTS = {
    "aucs": "The AUC of every model with its 95 % interval. Whether two models differ is said "
    "above, by their difference on the same rows: it can be significant where intervals overlap.",
    "by_max_len": "What longer histories bring, and what they cost.",
    "speed": "What each model costs, on the machine that ran it.",
    "importance": "What the AUC of a model that submits rests on. A column that others can stand "
    "in for loses little, however much it tells.",
}


def write_summary(
    comparison: Path,
    importances: list[Path],
    facts: list[Path],
    plots: list[Output],
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
    """Draw the `plots` of all models, and write the page as Markdown and as HTML.

    `importances` are plots of single models that it also shows, `facts` those of the data by size;
    `submitting` has the models that submit by size; `prior`, `refit`, `split` and `evaluation` are
    of the config, which `options` of Snakemake lay over the workflow's own. Without a test file
    (`has_test`) nothing can be submitted yet.
    """
    models = pd.read_csv(comparison)
    for path in plots:
        save(model_plots.PLOTS[path.stem](models), path)
    found = [*_tasks(models), _held_out(split, bool(models["unseen"].all()))]
    decisions = []
    for size, rivals in models.groupby("size", sort=False):
        names, baselines = submitting[size], {*evaluation["baselines"]} - {*submitting[size]}
        target = f"results/submission_{size}.csv"
        command = shlex.join(["snakemake", "--cores", "4", target, *options])
        decisions.append(decision(rivals, names, baselines, command))
        found += decisions[1:][-1:]
        found += _best_model(rivals, baselines)
        found += _training_rows(rivals)
        found += _features(rivals)
        found += _submission(rivals, names, prior, refit)
    lacking = " That needs a test file, and `raw.test` is null." * (not has_test)
    parts = [f"{decisions[0]}{lacking}\n", "# Click models on their validation rows\n"]
    parts += [SIMULATED] * bool(models["simulated_data"].any())
    parts += ["\n".join(f"- {line}" for line in found), ""]
    for path in facts:
        page = os.path.relpath(path.with_suffix(".md"), summary.parent)
        parts.append(f"## Alarms of the data: [{page}]({page})\n\n{alarms_text(read_alarms(path))}")
    table = _table(models[:_MOST])
    parts += ["## All models\n", markdown_table(table), _notes(table)]
    if len(models) > _MOST:
        parts.append(f"{len(models) - _MOST} more are in {comparison.name}.\n")
    for path in [*plots, *importances]:
        place = os.path.relpath(path, summary.parent)
        parts.append(f"{_PLOTS[path.stem]}\n\n![{path.stem}]({place})\n")
    write_page("\n".join(parts), summary, view)


def _tasks(models: pd.DataFrame) -> Iterator[str]:
    """What is predicted, and from what."""
    for size, rows in models.groupby("size", sort=False):
        first, trained = rows.iloc[0], rows["train_rows"].max()
        kind = "simulated" if first["simulated_data"] else "real"
        learned = "" if pd.isna(trained) else f", learned from {trained:,.0f} {kind} rows"
        yield (
            f"Size {size}: {counted(len(rows), 'model')} of the probability of a click{learned}, "
            f"measured on {first['valid_rows']:,} other {kind} rows with "
            f"{counted(first['valid_clicks'], 'click')}."
        )


def _held_out(split: Mapping[str, Any], unseen: bool) -> str:
    """How the validation rows were held out, and what else they were used for."""
    time, group = split["time"], split["group"]
    kinds = [
        *[f"the newest by {literal(time or '')}"] * bool(time),
        *[f"without a {literal(group or '')} that is in the train rows"] * bool(group),
    ] or [
        "drawn at random, so they share days and users with the train rows: where the test rows "
        "do not, every metric is too good (`sampling.split`)"
    ]
    chose = (
        "They chose nothing: each model's epoch was chosen on other held-out rows."
        if unseen
        else "They also chose each model's epoch, and what was tuned or weighed by them, so these "
        "metrics are a little too good; `sampling.holdout_share` sets some apart for reporting."
    )
    return f"The validation rows are {', '.join(kinds)}. {chose}"


def _best_model(models: pd.DataFrame, baselines: Set[str]) -> Iterator[str]:
    """How good the best model of a size is, beside others on the same rows.

    `baselines` are the names of those that models are measured against, and do not submit.
    """
    best = models.iloc[0]
    clicks = counted(best["valid_clicks"], "click")
    if not best["enough_clicks"]:
        yield (
            f"Size {best['size']} has {clicks} among {best['valid_rows']:,} validation rows. With "
            f"fewer than {LEAST_CLICKS} clicks, or as few others, no model is called better than "
            f"another."
        )
    else:
        yield (
            f"Highest AUC on the {best['valid_rows']:,} validation rows of size {best['size']}, "
            f"{clicks} among them: **{best['model']}**, {column_text(best, 'auc')}."
        )
        plain = models[models["model"].isin(baselines)].head(1)
        for _, baseline in plain.iterrows():
            yield _beside_baseline(best, baseline)
        # The best of each other kind.
        others = models[models["kind"].isin(FAMILIES) & (models["kind"] != best["kind"])]
        others = others.drop_duplicates("kind")
        for _, other in others[~others["model"].isin(plain["model"])].iterrows():
            yield (
                f"It is ahead of the best {other['kind']} model, {other['model']}, by "
                f"{column_text(other, 'auc_behind')}{_unless_significant(other, 'auc_behind')}."
            )
        if not pd.isna(best["auc_blanked"]):
            yield (
                f"Without histories its AUC is {best['auc_blanked']:.4f}: they are worth "
                f"{column_text(best, 'histories')}{_unless_significant(best, 'histories')}."
            )
    if not pd.isna(best["share_of_best"]):
        yield (
            f"By the true probabilities, which no click's chance is in, the AUC of {best['model']} "
            f"is {best['expected_auc']:.4f} and the best possible {best['best_auc']:.4f}, or "
            f"{best['best_auc_of_new_users']:.4f} without knowing the users. It has "
            f"{best['share_of_best']:.1%} of what can be learned, (AUC - 0.5) / (best possible - "
            f"0.5)."
        )


def _beside_baseline(best: pd.Series, baseline: pd.Series) -> str:
    """Whether the best model is better than the best baseline."""
    name = baseline["model"]
    if best["model"] == name:
        return "It is a baseline: no other model is better."
    ahead = f"It is ahead of the best baseline, {name}, by {column_text(baseline, 'auc_behind')}"
    if chance := _unless_significant(baseline, "auc_behind"):
        return f"{ahead}{chance}, so no model is surely better than this baseline."
    return f"{ahead}."


def _weights_of_blend(rivals: pd.DataFrame) -> dict[str, float]:
    """The weights of the blend, which are its settings; {} where there is none."""
    settings = " ".join(rivals["settings"][rivals["model"] == BLEND]).split()
    return {name: float(weight) for name, weight in (text.split("=") for text in settings)}


def _training_rows(models: pd.DataFrame) -> Iterator[str]:
    """Which models were trained on a share of the rows without a click."""
    for share, rows in models[models["negative_share"] < 1].groupby("negative_share", sort=False):
        yield (
            f"Trained on all clicks and {share:.2g} of the other rows, for time: "
            f"{', '.join(rows['model'])}. `negative_share: 1` takes all rows."
        )


def _features(models: pd.DataFrame) -> Iterator[str]:
    """Which sets of features models use, where the validation rows chose them."""
    chosen = models[models["features"].notna()]
    for sets, rows in chosen.groupby("features", sort=False):
        names = ", ".join(rows["model"])
        yield f"Sets of features that the validation rows chose for {names}: {sets}."


def _submission(
    rivals: pd.DataFrame, submitting: Sequence[str], prior: str, refit: bool
) -> Iterator[str]:
    """What a size submits, what the blend gains, and at which odds."""
    writer = BLEND if len(submitting) > 1 else submitting[0]
    shares = _weights_of_blend(rivals) if writer == BLEND else {}
    parts = [f"{shares[name]:.2g} {name}" if name in shares else name for name in submitting]
    again = (
        ", which then learned from the validation rows, too; the metrics here are those of before"
    )
    yield f"Size {rivals['size'].iloc[0]} submits {' + '.join(parts)}{again * refit}."
    for _, row in rivals[rivals["model"] == writer].iterrows():
        if writer == BLEND:
            score = f"{BALANCED}score_ahead" if prior == "balanced" else "score_ahead"
            yield (
                f"The competition score of the blend is {column_text(row, score)} above that of "
                f"{row['ahead_of']}, the best model in it, on rows that the weights were not "
                f"fitted to: the difference is {_significance(row, score)}."
            )
        significance = _significance(row, "score_gain")
        better = "balanced" if row["score_gain"] > 0 else "observed"
        is_advised = better != prior and significance == "significant"
        yield (
            f"Where the competition's score 0.5 AP + 0.5 / (1 + WLL) counts: that of "
            f"{row['model']} is {row['score']:.4f} with observed and "
            f"{row[f'{BALANCED}score']:.4f} with balanced odds. The difference is {significance}; "
            f"`submission.prior` is {prior}"
            f"{f', and {better} scored higher' if is_advised else ''}."
        )


def _significance(model: pd.Series, name: str) -> str:
    """Whether a difference is: by its p-value, or because its interval leaves out 0."""
    is_apart = model[f"{name}_low"] > 0 or model[f"{name}_high"] < 0
    if model["enough_clicks"] and model.get(f"{name}_chance", not is_apart) < SIGNIFICANCE:
        return "significant"
    return f"not significant ({counted(model['valid_clicks'], 'click')})"


def _unless_significant(model: pd.Series, name: str) -> str:
    found = _significance(model, name)
    return "" if found == "significant" else f"; the difference is {found}"


def _table(models: pd.DataFrame) -> pd.DataFrame:
    """The models with their main metrics and costs, as texts."""
    cells = pd.DataFrame(
        {
            "model": models["size"] + " " + models["model"],
            "clicks": models["valid_clicks"].map("{:,}".format),
            "AUC": models.apply(column_text, axis=1, name="auc"),
            "behind": models.apply(_behind, axis=1),
        }
    )
    forms = {"agreement": ("agreement", "{:.3f}")}
    forms |= {
        metric.heading: (metric.name, f"{{:.{metric.digits}f}}")
        for metric in (*METRICS[1:], BY_NAME[f"{BALANCED}score"])
    }
    forms |= {
        "share": ("share_of_best", "{:.3f}"),
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
        "Clicks: those among the validation rows; each size has validation rows of its own. "
        f"Intervals hold 95 %; there are none with fewer than {LEAST_CLICKS} clicks. Behind: the "
        "best AUC of the same size minus the model's, on the same rows; \\* marks a significant "
        f"difference (p < {SIGNIFICANCE}, DeLong, corrected for the number of models by Holm). "
        "Agreement: the rank correlation of the predictions with those of the best model; of good "
        f"models, the one that agrees least adds most to a blend. {metrics} Balanced score: the "
        "score at the odds 50:50. Share: how much of what can be learned from simulated data was "
        "learned. MiB: peak memory of the training.\n"
    )


def _behind(model: pd.Series) -> str:
    if not model["enough_clicks"]:
        return "too few clicks"
    mark = " *" if model["auc_behind_chance"] < SIGNIFICANCE else ""
    return column_text(model, "auc_behind") + mark
