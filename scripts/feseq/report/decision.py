"""What a size should submit and why, in one sentence: the first line of the summary."""

from collections.abc import Sequence, Set

import pandas as pd

from ..config.names import BLEND
from ..evaluate.intervals import LEAST_CLICKS, SIGNIFICANCE
from ..families import is_model
from .page import column_text, counted


def decision(
    rivals: pd.DataFrame, submitting: Sequence[str], baselines: Set[str], command: str
) -> str:
    """The sentence about one size, for Markdown.

    `rivals` are its rows of comparison.csv, the best AUC first; `submitting` are the models that
    submit, by `command`; `baselines` are those that they should be better than. A model is surely
    behind the best if the p-value of the difference, corrected for the number of models, is below
    SIGNIFICANCE.
    """
    size, is_blend = rivals["size"].iloc[0], len(submitting) > 1
    name = BLEND if is_blend else submitting[0]
    named = f"the blend of {', '.join(submitting)}" if is_blend else name
    reset = ", submission_weights: null" * is_blend

    def instead(model: str) -> str:
        return f"`sizes: {{{size}: {{submission_models: [{model}]{reset}}}}}`"

    best = rivals.iloc[0]
    if not best["enough_clicks"]:
        return (
            f"**These rows cannot tell what to submit**: size {size} has "
            f"{counted(best['valid_clicks'], 'click')} among its {best['valid_rows']:,} validation "
            f"rows, and {LEAST_CLICKS} are needed, and as many others; `{command}` submits "
            f"{named}, as configured."
        )
    level = rivals[rivals["auc_behind_chance"] >= SIGNIFICANCE]  # the best is level with itself
    candidates = level[level["model"].map(is_model)]
    own = rivals[rivals["model"] == name]
    if own.empty or (name not in {*level["model"]} and len(candidates)):
        # Without a level one, the best trained model; there is one.
        model = pd.concat([candidates, rivals[rivals["model"].map(is_model)]])["model"].iloc[0]
        why = (
            f"{named}, as configured, is not trained"
            if own.empty
            else f"{named} is surely behind {best['model']}, {_behind(own.iloc[0])}"
        )
        return (
            f"**Submit {model}**: write {instead(model)} into the config, then `{command}`; {why}."
        )
    plain = level[level["model"].isin(baselines)]
    if plain.empty:
        return f"**Submit {named}**: `{command}`; {_why(own.iloc[0], rivals, baselines)}."
    # One that can be submitted, if there is one.
    other = pd.concat([plain[plain["model"].map(is_model)], plain]).iloc[0]
    offer = (
        f", or {other['model']} with {instead(other['model'])} in the config"
        if is_model(other["model"])
        else f", since {other['model']} cannot be submitted"
    )
    if name in {*level["model"]}:
        as_good, why = "is as good as", f"neither is surely behind {best['model']}, the best"
    else:
        as_good, why = "is surely better than", f"it is ahead {_behind(own.iloc[0])}"
    aucs = f"AUC {column_text(other, 'auc')} beside {column_text(own.iloc[0], 'auc')}"
    return (
        f"**{other['model']}, a baseline, {as_good} {named}**: {aucs}, and {why}; `{command}` "
        f"submits {name}{offer}."
    )


def _why(own: pd.Series, rivals: pd.DataFrame, baselines: Set[str]) -> str:
    """Why a model submits that none is surely better than, and that no baseline is level with."""
    best, plain = rivals.iloc[0], rivals[rivals["model"].isin(baselines)]
    if own["model"] != best["model"]:
        return f"no model is surely better: it is behind {best['model']} {_behind(own)}"
    why = f"its AUC {column_text(own, 'auc')} is the highest"
    for _, other in plain[:1].iterrows():
        why += f", surely above the best baseline, {other['model']}, {_behind(other)}"
    return why


def _behind(model: pd.Series) -> str:
    return f"by {column_text(model, 'auc_behind')}"
