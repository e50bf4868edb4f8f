"""The model kinds: each is a folder of `tossctr.models`, listed in MODEL_KINDS.

Rules and scripts know models only by name:

    len150           FESeq with the size's settings and histories of at most 150 events
    len150-briefing  len150 with the overrides of the config's variant `briefing`
    boosting         gradient boosting with the size's settings
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from glob import glob
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..config.columns import Columns
from ..config.names import BASELINES, BLEND, MODEL_FILE, VARIANT, Settings, variant_of
from ..models.base import ModelKind, size_settings
from ..models.boosting.boosting import KIND as BOOSTING
from ..models.feseq.feseq import KIND as FESEQ

MODEL_KINDS = {kind.name: kind for kind in (FESEQ, BOOSTING)}
MODEL_PATTERN = rf"(?:{'|'.join(each.pattern for each in MODEL_KINDS.values())}){VARIANT}"


def kind_of(model: str) -> ModelKind:
    """The kind of the model with this name; raises UserError if the name fits no kind."""
    for kind in MODEL_KINDS.values():
        if re.fullmatch(kind.pattern + VARIANT, model):
            return kind
    plain = [each.pattern for each in MODEL_KINDS.values() if each.pattern.isidentifier()]
    raise UserError(
        f"{model!r} is not a model's name; use len<max_len> (such as len150) or "
        f"{' or '.join(plain)}; a variant may follow after a hyphen (len150-briefing)"
    )


def is_model(name: str) -> bool:
    """True for the name of a model, not of a baseline or the blend."""
    return re.fullmatch(MODEL_PATTERN, name) is not None


@cache
def settings_classes() -> dict[str, Any]:
    """The settings class of each block of the config that a model kind reads, by name."""
    return {name: keys for kind in MODEL_KINDS.values() for name, keys in kind.blocks.items()}


def variant_settings(config: Mapping[str, Any], size: str, model: str) -> Settings:
    """The settings that the model's variant overrides, if any, by block of the config."""
    changes = config["variants"].get(variant_of(model), {})
    return {block: changes[block] for block in kind_of(model).blocks if changes.get(block)}


def model_error(config: Mapping[str, Any], columns: Columns, size: str, model: str) -> str:
    """The message that says why a model of a size cannot train on these columns; '' if it can."""
    try:
        kind_of(model).check(config, columns, size, model)
    except UserError as error:
        return str(error)
    return ""


def check_job(config: Mapping[str, Any], columns: Columns, wildcards: Mapping[str, str]) -> None:
    """Raise UserError if a job's size is not in the config, or if its model cannot train.

    `wildcards` has the `size` and perhaps the `model` of the job.
    """
    size_settings(config, size := wildcards["size"])
    if model := wildcards.get("model"):
        kind_of(model).check(config, columns, size, model)


def submission_models(config: Mapping[str, Any], size: str) -> list[str]:
    """The names of the models that make the submission of a size."""
    return size_settings(config, size)["submission_models"]


def submission_weights(config: Mapping[str, Any], size: str) -> dict[str, float] | None:
    """The weights of a size's submission models in the blend, by name, with the sum 1.

    None: the workflow fits the weights to the validation rows.
    """
    models = submission_models(config, size)
    weights = size_settings(config, size)["submission_weights"] or [1] * len(models)
    if weights == "auto":
        if len(models) > 1:
            return None
        weights = [1]
    return {model: weight / sum(weights) for model, weight in zip(models, weights)}


def compared_models(
    config: Mapping[str, Any], results: Path, targets: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Size and name of each model in the comparison of models; raises UserError if there is none.

    The sizes are those of the `targets` that are submissions or files of a model. Without such
    targets, all sizes with a trained model are compared. Each size has:

        the models of the targets
        the models in the folder `results`, unless the config no longer allows them
        the blend, if all submission models are among these
        the baselines
    """
    columns = Columns.from_config(config["table"]["columns"])

    def can_be_measured(size: str, name: str) -> bool:
        can_train = is_model(name) and not model_error(config, columns, size, name)
        return can_train or name in BASELINES

    requested = []
    for path in map(Path, targets):
        match path.relative_to(results).parts if path.is_relative_to(results) else ():
            case [name] if name.startswith("submission_"):
                size = path.stem.removeprefix("submission_")
                submitting = config["sizes"].get(size, {}).get("submission_models", [])
                requested += [(size, model) for model in submitting]
            case ["scores", size, name, _] | [size, name, _, *_] if is_model(name):
                requested.append((size, name))
    # After a failed training there are only the metrics: Snakemake removes the model file.
    # Path.glob would raise if a running job removes a file meanwhile.
    names = (MODEL_FILE, "metrics.json")
    files = [path for name in names for path in glob(f"{results}/*/*/{name}")]
    trained = sorted({Path(path).parts[-3:-1] for path in files})
    chosen: list[tuple[str, str]] = []
    for size in config["sizes"]:
        jobs = [job for job in (*requested, *trained) if job[0] == size and can_be_measured(*job)]
        models = [name for _, name in jobs]
        if any(map(is_model, models)) and (not requested or size in dict(requested)):
            submitting = submission_models(config, size)
            if len(submitting) > 1 and {*submitting} <= {*models}:
                models.append(BLEND)
            models += [n for n in config["evaluation"]["baselines"] if can_be_measured(size, n)]
            chosen += [(size, name) for name in dict.fromkeys(models)]
    if not chosen:
        raise UserError(
            f"there is no model to compare; add a target that is a submission or a model's file: "
            f"{results}/submission_medium.csv or {results}/medium/boosting/metrics.json"
        )
    return chosen
