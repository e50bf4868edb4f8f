"""One page for a person: which model is best, by how much, and what to submit."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.names import ENSEMBLE
from ..describe.alarms import SIMULATED, alarms_text, read_alarms
from ..evaluate.auc import LEAST_CLICKS, SIGNIFICANCE
from .page import write_page
from .table import read_comparison

# Models in the table; the comparison has them all.
_MOST = 30
# What a reader learns from each figure.
_FIGURES = {
    "aucs": "The AUC of every model with its 95 % interval. Whether two models are told apart is "
    "said above, by their difference on the same rows: intervals that overlap do not rule it out.",
    "by_max_len": "What longer histories bring, and what they cost.",
    "speed": "What each model costs, on the machine that ran it.",
    "importance": "What the AUC of a model that submits rests on. A column that others can stand "
    "in for loses little, however much it tells.",
}


def write_summary(
    comparison: Path,
    figures: Sequence[Path],
    summary: Path,
    view: Path,
    *,
    submitting: Mapping[str, Mapping[str, float] | None],
    prior: str,
    refit: bool,
    split: Mapping[str, Any],
    facts: Sequence[Path] = (),
) -> None:
    """Write the page as Markdown, and as HTML.

    `figures` are shown in this order, those of which there is something to say; `facts` are those
    of the data by size; `submitting` has the weights of the models that submit by size, None where
    they are fitted; `prior` and `refit` are of the config, `split` is its sampling.split.
    """
    models = read_comparison(comparison)
    parts = ["# Click models on their validation rows\n"]
    parts += [SIMULATED] * bool(models["simulated_data"].any())
    found = [
        *_task(models),
        _held_out(split, models["unseen"]),
        *_findings(models, submitting, prior, refit),
    ]
    parts += ["\n".join(f"- {line}" for line in found), ""]
    parts += [_alarms_part(path, summary) for path in facts]
    parts += ["## All models\n", _table(models[:_MOST])]
    if len(models) > _MOST:
        parts.append(f"{len(models) - _MOST} more are in {comparison.name}.\n")
    lengths = models["model"].str.extract(r"^len(\d+)")[0].nunique()
    for path in figures:
        if path.stem != "by_max_len" or lengths > 1:
            place = os.path.relpath(path, summary.parent)
            parts.append(f"{_FIGURES[path.stem]}\n\n![{path.stem}]({place})\n")
    write_page("\n".join(parts), summary, view)


def _task(models: pd.DataFrame) -> Iterable[str]:
    """What is predicted, and from what."""
    for size, of_size in models.groupby("size", sort=False):
        first = of_size.iloc[0]
        kind = "simulated" if first["simulated_data"] else "real"
        trained = of_size["train_rows"].max()
        learned = f", learned from {trained:,.0f} {kind} rows" if trained == trained else ""
        yield (
            f"Size {size}: {len(of_size)} models of the probability of a click{learned}, measured "
            f"on {first['valid_rows']:,} other {kind} rows with {first['valid_clicks']:,} clicks."
        )


def _held_out(split: Mapping[str, Any], unseen: pd.Series) -> str:
    """How the validation rows were held out, and what else they were used for."""
    kinds = []
    if split["time"]:
        kinds.append(f"the newest by `{split['time']}`")
    if split["group"]:
        kinds.append(f"without a `{split['group']}` that is in the train rows")
    if not kinds:
        kinds.append(
            "drawn at random, so they share days and users with the train rows: where the test "
            "rows do not, every figure is too good (`sampling.split`)"
        )
    chose = "They chose nothing: each model's epoch was chosen on other held-out rows."
    if not unseen.all():
        chose = (
            "They also chose each model's epoch, and what was tuned or weighed by them, so these "
            "figures are a little too good; `sampling.judge_share` keeps rows that only judge."
        )
    return f"The validation rows are {', '.join(kinds)}. {chose}"


def _alarms_part(facts: Path, summary: Path) -> str:
    """The alarms of a size's data, and the way to its page."""
    page = os.path.relpath(facts.with_suffix(".md"), summary.parent)
    return f"## Alarms of the data: [{page}]({page})\n\n{alarms_text(read_alarms(facts))}"


def _findings(
    models: pd.DataFrame,
    submitting: Mapping[str, Mapping[str, float] | None],
    prior: str,
    refit: bool,
) -> Iterable[str]:
    """What a reader asks first, one line each, for each size that submits."""
    for size, weights in submitting.items():
        rivals = models[models["size"] == size]
        if len(rivals):
            yield from _best_model(rivals)
        if weights is None:
            weights = _fitted(rivals)
        named = " + ".join(
            model if len(weights) == 1 else f"{weight:.2g} {model}"
            for model, weight in weights.items()
        )
        again = (
            ", trained again on all rows, those held out too, with the number of steps that these "
            "rows chose; the figures here are those of the training before"
        )
        command = f"`snakemake --cores 4 results/submission_{size}.csv`"
        yield f"{command} submits {named}{again if refit else ''}."
        writer = ENSEMBLE if len(weights) > 1 else next(iter(weights))
        for _, row in rivals[rivals["model"] == writer].iterrows():
            if writer == ENSEMBLE:
                yield _ahead_line(row)
            yield _prior_line(row, prior)


def _fitted(models: pd.DataFrame) -> dict[str, float]:
    """The weights that were fitted for a size: the settings of its ensemble."""
    settings = models["settings"][models["model"] == ENSEMBLE].iloc[0]
    pairs = (text.split("=") for text in settings.split())
    return {model: float(weight) for model, weight in pairs}


def _ahead_line(ensemble: pd.Series) -> str:
    """Whether the models that submit are better together than the best of them."""
    apart = _with_interval(ensemble, "score_ahead")
    rows = "on rows that their weights were not fitted to"
    above, below = ensemble["score_ahead_low"] > 0, ensemble["score_ahead_high"] < 0
    if not ensemble["enough_clicks"] or not (above or below):
        return (
            f"{ensemble['valid_clicks']:,} clicks do not tell whether together they are better "
            f"than {ensemble['ahead_of']}, the best of them: the competition scores differ by "
            f"{apart}, {rows}."
        )
    return (
        f"Together they have a competition score that differs from that of the best of them, "
        f"{ensemble['ahead_of']}, by {apart}, {rows}: it is {'higher' if above else 'lower'}."
    )


def _best_model(models: pd.DataFrame) -> Iterable[str]:
    """How good the best model of a size is, beside others on the same rows."""
    best = models.iloc[0]
    clicks = f"{best['valid_clicks']:,} clicks"
    if not best["enough_clicks"]:
        yield (
            f"Size {best['size']} has {clicks} among {best['valid_rows']:,} validation rows. With "
            f"fewer than {LEAST_CLICKS} clicks, or as few others, no model is called better than "
            f"another."
        )
    else:
        yield (
            f"Highest AUC on the {best['valid_rows']:,} validation rows of size {best['size']}, "
            f"{clicks} among them: **{best['model']}**, {_with_interval(best, 'auc')}."
        )
        yield from _rivals(models, clicks)
        yield from _histories(best, clicks)
    if best["share_of_best"] == best["share_of_best"]:
        yield (
            f"By the true probabilities, which no click's chance is in, the AUC of {best['model']} "
            f"is {best['expected_auc']:.4f} and the best possible {best['best_auc']:.4f}, or "
            f"{best['best_auc_of_new_users']:.4f} without knowing the users. It has "
            f"{best['share_of_best']:.1%} of what can be learned, (AUC - 0.5) / (best possible - "
            f"0.5)."
        )


def _rivals(models: pd.DataFrame, clicks: str) -> Iterable[str]:
    """Whether the best model is ahead of the best of each other kind."""
    best = models.iloc[0]
    for kind, what in (
        ("baseline", "baseline"),
        ("boosting", "model of boosting"),
        ("feseq", "FESeq model"),
    ):
        others = models[models["kind"] == kind]
        if kind == best["kind"] or not len(others):
            continue
        other = others.iloc[0]
        apart = _with_interval(other, "auc_behind")
        if other["auc_behind_chance"] < SIGNIFICANCE:
            yield f"It is ahead of the best {what}, {other['model']}, by {apart}."
        else:
            yield (
                f"{clicks} do not tell it from the best {what}, {other['model']}: the AUCs differ "
                f"by {apart}, of {len(models) - 1} differences looked at."
            )


def _histories(model: pd.Series, clicks: str) -> Iterable[str]:
    """Whether a model gains from its histories."""
    if model["auc_blanked"] != model["auc_blanked"]:
        return
    without = f"Without histories its AUC is {model['auc_blanked']:.4f}"
    worth = _with_interval(model, "histories")
    if model["histories_chance"] >= SIGNIFICANCE:
        yield f"{without}; {clicks} do not tell whether they help: the difference is {worth}."
    elif model["histories"] < 0:
        yield f"{without}: with them it is lower, by {worth}."
    else:
        yield f"{without}: they are worth {worth}."


def _prior_line(model: pd.Series, prior: str) -> str:
    text = (
        f"Competition score 0.5 AP + 0.5 / (1 + WLL) of {model['model']}: {model['score']:.4f} "
        f"with observed and {model['score_balanced']:.4f} with balanced odds; `submission.prior` "
        f"is {prior}"
    )
    if not (model["score_gain_low"] > 0 or model["score_gain_high"] < 0):
        return f"{text}. {model['valid_clicks']:,} clicks do not tell which is better."
    better = "balanced" if model["score_gain_low"] > 0 else "observed"
    advice = "the better of the two" if better == prior else f"{better} is the better of the two"
    return f"{text}, {advice}."


def _table(models: pd.DataFrame) -> str:
    cells = pd.DataFrame(
        {
            "model": models["size"] + " " + models["model"],
            "clicks": [f"{n:,}" for n in models["valid_clicks"]],
            "AUC": [_with_interval(row, "auc") for _, row in models.iterrows()],
            "behind": [_behind(row) for _, row in models.iterrows()],
        }
    )
    for head, name, form in (
        ("alike", "agreement", "{:.3f}"),
        ("AP", "average_precision", "{:.4f}"),
        ("logloss", "logloss", "{:.5f}"),
        ("WLL", "weighted_logloss", "{:.3f}"),
        ("score", "score", "{:.4f}"),
        ("balanced", "score_balanced", "{:.4f}"),
        ("share", "share_of_best", "{:.3f}"),
        ("train", "train_seconds", "{:.0f} s"),
        ("MiB", "peak_memory_mib", "{:,.0f}"),
    ):
        cells[head] = ["" if x != x else form.format(x) for x in models[name]]
    lines = [list(cells), ["---"] * len(cells.columns), *cells.to_numpy().tolist()]
    notes = (
        "Clicks: those among the validation rows; each size has validation rows of its own. "
        "Intervals hold 95 %; there are none with fewer than "
        f"{LEAST_CLICKS} clicks. Behind: the best AUC of the same size minus the model's, on the "
        "same rows; \\* marks a difference that chance makes in fewer than "
        f"{SIGNIFICANCE:.0%} of cases, corrected for the number of models (DeLong, Holm). "
        "Alike: the rank correlation of the predictions with those of the best model; a good model "
        "that is least like it adds most to a blend. AP: average precision. WLL: logloss where "
        "both classes weigh the same. Score and balanced: 0.5 AP + 0.5 / (1 + WLL) with observed "
        "and with balanced odds. Share: how much of what can be learned from simulated data was "
        "learned. MiB: peak memory of the training."
    )
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", notes, ""])


def _behind(model: pd.Series) -> str:
    if not model["enough_clicks"]:
        return "too few clicks"
    mark = " \\*" if model["auc_behind_chance"] < SIGNIFICANCE else ""
    return _with_interval(model, "auc_behind") + mark


def _with_interval(model: pd.Series, name: str) -> str:
    value, low, high = (f"{model[f'{name}{end}']:.4f}" for end in ("", "_low", "_high"))
    return value if low == "nan" else f"{value} [{low}, {high}]"
