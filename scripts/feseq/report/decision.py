"""What a size should submit and why, in one sentence: the first line of the summary."""

from collections.abc import Sequence

import pandas as pd

from ..config.names import BLEND, FEW_CLICKS, SIGNIFICANCE
from ..families import is_model
from .page import column_text, counted, difference_text


def decision(rivals: pd.DataFrame, submitting: Sequence[str], command: str) -> str:
    """The sentence about one size, for Markdown.

    `rivals` are its rows of comparison.csv, the best AUC first, each with its `group`; `submitting`
    are the models that submit, by `command`. A model is surely behind the best if the p-value of
    the difference, corrected for the number of models, is below SIGNIFICANCE.
    """
    best, is_blend = rivals.iloc[0], len(submitting) > 1
    size, name = best["size"], BLEND if is_blend else submitting[0]
    named = f"the blend of {', '.join(submitting)}" if is_blend else name
    reset = ", submission_weights: null" * is_blend
    if not best["enough_clicks"]:
        return (
            f"**These rows cannot tell what to submit**: size {size} has "
            f"{counted(best['valid_clicks'], 'click')} among its {best['valid_rows']:,} validation "
            f"rows, and {FEW_CLICKS} are needed, and as many others; `{command}` submits "
            f"{named}, as configured."
        )

    def instead(model: str) -> str:
        return f"`sizes: {{{size}: {{submission_models: [{model}]{reset}}}}}` in the config"

    level = rivals[rivals["auc_behind_chance"] >= SIGNIFICANCE]  # the best is level with itself
    trained, candidates = (rows[rows["model"].map(is_model)] for rows in (rivals, level))
    own, baselines = rivals[rivals["model"] == name], rivals[rivals["group"] == "baseline"]
    reasons = [_standing(row, best) for _, row in pd.concat([own, baselines[:1]]).iterrows()]
    if own.empty:
        reasons = [f"{named}, as configured, is not trained", *reasons]
    why = "; ".join(reasons)
    if own.empty or (name not in set(level["model"]) and len(candidates)):
        # Without a level one, the best trained model; there is one.
        model = pd.concat([candidates, trained])["model"].iloc[0]
        return f"**Submit {model}**: with {instead(model)}, `{command}`; {why}."
    plain = level[level["group"] == "baseline"]
    if plain.empty:
        return f"**Submit {named}**: `{command}`; {why}."
    # One that can be submitted, if there is one.
    other = pd.concat([plain[plain["model"].map(is_model)], plain])["model"].iloc[0]
    offer = f", or {other} with {instead(other)}" if is_model(other) else ""
    return (
        f"**No model is surely better than {other}, a baseline**: `{command}` submits "
        f"{named}{offer}; {why}."
    )


def _standing(model: pd.Series, best: pd.Series) -> str:
    """The AUC of a model and how far it is behind the best."""
    text = f"{model['model']} has an AUC of {column_text(model, 'auc')}"
    if model["model"] == best["model"]:
        return f"{text}, the highest"
    return f"{text} and is behind {best['model']} by {difference_text(model, 'auc_behind')}"
