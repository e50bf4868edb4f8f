"""The kinds of models: each is a folder of `tossctr.models`, registered here.

Rules and scripts know models only by name:

    len150           FESeq with the size's settings and histories of at most 150 events
    len150-briefing  len150, overridden by the config's variant `briefing`
    boosting         gradient boosting with the size's settings
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..config.columns import Columns
from ..config.names import BASELINES, BLEND, MODEL_FILE, VARIANT, Settings, variant_of
from ..models.base import ModelKind, size_block
from ..models.boosting.boosting import KIND as BOOSTING
from ..models.feseq.feseq import KIND as FESEQ

MODEL_KINDS = {kind.name: kind for kind in (FESEQ, BOOSTING)}
MODEL_PATTERN = rf"(?:{'|'.join(each.pattern for each in MODEL_KINDS.values())}){VARIANT}"


def kind_of(model: str) -> ModelKind:
    """The kind of a model by its name; raises UserError if no kind has such names."""
    for kind in MODEL_KINDS.values():
        if re.fullmatch(kind.pattern + VARIANT, model):
            return kind
    plain = [each.pattern for each in MODEL_KINDS.values() if each.pattern.isidentifier()]
    raise UserError(
        f"{model!r} is not the name of a model; write len and a max_len, such as len150, or "
        f"{' or '.join(plain)}, and add a variant's name, if any, such as len150-briefing"
    )


def is_model(name: str) -> bool:
    """True for the name of a model, not of a baseline or the blend."""
    return re.fullmatch(MODEL_PATTERN, name) is not None


@cache
def blocks() -> dict[str, Any]:
    """The settings of all kinds by block, for the config's top, its sizes and its variants."""
    return {name: keys for kind in MODEL_KINDS.values() for name, keys in kind.blocks.items()}


def model_settings(config: Mapping[str, Any], size: str, model: str) -> Settings:
    """The settings of one model by block; raises UserError if it is unknown."""
    return kind_of(model).settings(config, size, model)


def variant_settings(config: Mapping[str, Any], size: str, model: str) -> Settings:
    """The settings that a model's variant overrides, by block; {} without a variant."""
    changes = config["variants"].get(variant_of(model), {})
    return {b: changes[b] for b in model_settings(config, size, model) if changes.get(b)}


def model_error(config: Mapping[str, Any], columns: Columns, size: str, model: str) -> str:
    """Why a model cannot train on a table of these columns; '' if it can."""
    try:
        kind_of(model).check(config, columns, size, model)
    except UserError as error:
        return str(error)
    return ""


def check_job(config: Mapping[str, Any], columns: Columns, wildcards: Mapping[str, str]) -> None:
    """Raise UserError if the config lacks the job's size, or cannot train its model, if any."""
    size_block(config, size := wildcards["size"])
    if model := wildcards.get("model"):
        kind_of(model).check(config, columns, size, model)


def submission_models(config: Mapping[str, Any], size: str) -> list[str]:
    """The submission models of a size."""
    return size_block(config, size)["submission_models"]


def submission_weights(config: Mapping[str, Any], size: str) -> dict[str, float] | None:
    """The submission models of a size, with their weights (sum 1) in the mean of the logits.

    None if the weights are fitted to validation rows.
    """
    models = submission_models(config, size)
    weights = size_block(config, size)["submission_weights"] or [1] * len(models)
    if weights == "auto":
        if len(models) > 1:
            return None
        weights = [1]
    return {model: weight / sum(weights) for model, weight in zip(models, weights)}


def compared_models(
    config: Mapping[str, Any], results: Path, targets: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Size and name of each model in the comparison.

    Sizes are those of the `targets` that are submissions or files of a model; if there are none,
    all sizes with a trained model. Each size has the targets' models, all trained models that the
    config still knows, their blend if all submission models are among them, and the baselines.
    Raises UserError if there is no model.
    """
    columns = Columns.from_config(config["table"]["columns"])

    def is_known(size: str, name: str) -> bool:
        can_train = is_model(name) and not model_error(config, columns, size, name)
        return can_train or name in BASELINES

    asked = []
    for path in map(Path, targets):
        match path.relative_to(results).parts if path.is_relative_to(results) else ():
            case [name] if name.startswith("submission_"):
                size = path.stem.removeprefix("submission_")
                submitting = config["sizes"].get(size, {}).get("submission_models", [])
                asked += [(size, model) for model in submitting]
            case ["scores", size, name, _] | [size, name, _, *_] if is_model(name):
                asked.append((size, name))
    # If a training fails, Snakemake removes the model but leaves the earlier model's metrics.
    files = [*results.glob(f"*/*/{MODEL_FILE}"), *results.glob("*/*/metrics.json")]
    trained = sorted({path.parts[-3:-1] for path in files})
    chosen: list[tuple[str, str]] = []
    for size in config["sizes"]:
        jobs = [job for job in (*asked, *trained) if job[0] == size and is_known(*job)]
        models = [name for _, name in jobs]
        if any(map(is_model, models)) and (not asked or size in dict(asked)):
            submitting = submission_models(config, size)
            if len(submitting) > 1 and {*submitting} <= {*models}:
                models.append(BLEND)
            models += [n for n in config["evaluation"]["baselines"] if is_known(size, n)]
            chosen += [(size, name) for name in dict.fromkeys(models)]
    if not chosen:
        raise UserError(
            f"there is no model to compare: ask for a submission or a model in the same call, such "
            f"as {results}/submission_medium.csv or {results}/medium/boosting/metrics.json"
        )
    return chosen
