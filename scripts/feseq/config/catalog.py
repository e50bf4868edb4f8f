"""The models of a size, and the settings of each."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common.errors import ImpossibleNetworkError, UserError, did_you_mean
from .columns import Columns
from .model import ModelConfig
from .names import BASELINES, ENSEMBLE, is_boosting, is_model, model_file, split_name

# Settings of a training that change its result by rounding at most.
LAYOUT = ("gpus", "nodes")
# Settings that stand at the top, in sizes and in variants.
BLOCKS = ("model", "train", "boosting")


def size_block(config: Mapping[str, Any], size: str) -> dict[str, Any]:
    """The config's block of a size; raises UserError if there is none."""
    if size not in config["sizes"]:
        hint = did_you_mean(size, config["sizes"], "sizes")
        raise UserError(f"there is no size {size!r}; {hint}")
    return config["sizes"][size]


def size_settings(
    config: Mapping[str, Any], size: str, variant: str | None = None
) -> dict[str, Any]:
    """The settings of a size: its BLOCKS over the shared ones, a variant's on top."""
    settings = dict(size_block(config, size))
    changes = config["variants"][variant] if variant else {}
    for block in BLOCKS:
        settings[block] = {**config[block], **settings.get(block, {}), **changes.get(block, {})}
    return settings


def model_settings(config: Mapping[str, Any], size: str, model: str) -> dict[str, Any]:
    """`model_config`, `train_config` and LAYOUT of one model; raises UserError if unknown."""
    max_len, variant = split_name(model)
    listed = size_block(config, size)["max_len"]
    if max_len not in listed:
        raise UserError(
            f"max_len {max_len} is not listed for size {size}: sizes.{size}.max_len is {listed}; "
            f"ask for one of these or add it there"
        )
    _check_variant(config, model, variant)
    settings = size_settings(config, size, variant)
    layout = {key: settings["train"].pop(key) for key in LAYOUT}
    return {
        "model_config": {**settings["model"], "max_len": max_len},
        "train_config": settings["train"],
        **layout,
    }


def boosting_settings(config: Mapping[str, Any], size: str, model: str) -> dict[str, Any]:
    """The settings of one model of gradient boosting; raises UserError if unknown."""
    variant = split_name(model)[1]
    size_block(config, size)
    _check_variant(config, model, variant)
    if variant and not config["variants"][variant].get("boosting"):
        raise UserError(
            f"{model}: variants.{variant} has no settings of boosting, so this would be the same "
            f"model as boosting; give it a block boosting, or use that"
        )
    return size_settings(config, size, variant)["boosting"]


def _check_variant(config: Mapping[str, Any], model: str, variant: str | None) -> None:
    if variant and variant not in config["variants"]:
        hint = did_you_mean(variant, config["variants"], "known")
        raise UserError(f"{model}: the config has no variant {variant!r}; {hint}")


def used_settings(network: Mapping[str, Any]) -> dict[str, Any]:
    """A network's settings; those that it does not use are null, as they change nothing."""
    unused: set[str] = set()
    if not network["times"]:
        unused |= {"time_buckets", "time_log_base"}
    if network["pooling"] != "weighted_sum":
        unused |= {"score", "scaled_scores", "item_interaction_layers", "attention_dim"}
    elif network["score"] == "din":
        unused.add("scaled_scores")
    return {key: None if key in unused else value for key, value in network.items()}


def used_training(training: Mapping[str, Any]) -> dict[str, Any]:
    """A training's settings; those that it does not use are null."""
    unused: set[str] = set()
    if training["start_from"]:
        unused.add("start_at_click_rate")
    return {key: None if key in unused else value for key, value in training.items()}


def model_mistakes(
    config: Mapping[str, Any], columns: Columns, size: str, model: str
) -> Iterator[str]:
    """What keeps a model from being trained on a table of these columns, one line each."""
    try:
        if is_boosting(model):
            boosting_settings(config, size, model)
            return
        settings = model_settings(config, size, model)["model_config"]
    except UserError as error:
        yield str(error)
        return
    variant = split_name(model)[1]
    own = config["variants"][variant].get("model", {}) if variant else {}
    if settings["times"] and columns.event_time is None:
        place = (
            f"sizes.{size}.model" if "times" in config["sizes"][size].get("model", {}) else "model"
        )
        place = f"variants.{variant}.model" if "times" in own else place
        yield (
            f"{place}.times: true, and no group in columns.use has times; "
            f"write times: {{<sequence column of event times>: <column of the row's time>}} in a "
            f"group, or set it to false"
        )
    of_target = [n for n in settings["history_statistics"] if n.startswith("target_")]
    if of_target and not columns.shared:
        yield (
            f"{model} on size {size}: model.history_statistics: {', '.join(sorted(of_target))} "
            f"needs a sequence whose events are items of its target; write share_embedding: "
            f"[<sequence column>] in a group, or leave it out"
        )
    try:
        ModelConfig(**settings).width(len(columns.sequences) + len(columns.profile))
    except ImpossibleNetworkError as error:
        place = f"variants.{variant}.model, on size {size}" if own else f"sizes.{size}.model.heads"
        yield f"{place}: {error}"


def check_job(config: Mapping[str, Any], columns: Columns, wildcards: Mapping[str, str]) -> None:
    """Raise UserError if the config has no such size, or no such model where a job has one."""
    size_block(config, wildcards["size"])
    if "model" in wildcards:
        for mistake in model_mistakes(config, columns, wildcards["size"], wildcards["model"]):
            raise UserError(mistake)


def check_fold(config: Mapping[str, Any], wildcards: Mapping[str, str]) -> None:
    """Raise UserError if the config has no folds, or fewer than a job's, or it has no model."""
    if (name := wildcards.get("name")) in (*BASELINES, ENSEMBLE):
        raise UserError(f"{name} is no model, and only models have predictions out of fold")
    folds = config["sampling"]["folds"]
    if folds is None:
        raise UserError(
            "predictions out of fold need sampling.folds, which is null; set it, for example "
            "sampling: {folds: 5} in the file of --configfile"
        )
    fold = int(wildcards.get("fold", 1))
    if not 1 <= fold <= folds:
        raise UserError(f"there is no fold {fold}: sampling.folds is {folds}, the first fold 1")


def submission_models(config: Mapping[str, Any], size: str) -> list[str]:
    """The models that submit for a size."""
    return size_block(config, size)["submission_models"]


def submission_weights(config: Mapping[str, Any], size: str) -> dict[str, float] | None:
    """The models that submit for a size, with their shares in the mean of the logits.

    None if these are to be fitted to validation rows.
    """
    models = submission_models(config, size)
    weights = size_block(config, size)["submission_weights"] or [1] * len(models)
    if weights == "auto":
        if len(models) > 1:
            return None
        weights = [1]
    return {model: weight / sum(weights) for model, weight in zip(models, weights)}


def scored_files(config: Mapping[str, Any], name: str) -> list[str]:
    """The files to score of this name; raises UserError if there is none."""
    if name not in config["score"]:
        hint = did_you_mean(name, config["score"], "names there")
        raise UserError(
            f"score has no {name!r}; {hint}: add `score: {{{name}: <parquet file>}}` to the config"
        )
    files = config["score"][name]
    return [files] if isinstance(files, str) else files


def compared_models(config: Mapping[str, Any], results: Path) -> list[tuple[str, str]]:
    """Size and name of each model in the comparison.

    Those that submit for the sizes of `evaluation.sizes`, their ensemble and the baselines, and
    every other model trained so far that the config still knows.
    """
    chosen: list[tuple[str, str]] = []
    for size in config["evaluation"]["sizes"]:
        submitting = submission_models(config, size)
        together = [ENSEMBLE] if len(submitting) > 1 else []
        chosen += [(size, n) for n in (*submitting, *together, *config["evaluation"]["baselines"])]
    columns = Columns.from_config(config["columns"])
    for path in sorted(results.glob("*/*/training.json")):
        size, name = path.parts[-3:-1]
        if size in config["sizes"] and (
            name in BASELINES
            or (
                is_model(name)
                and (path.parent / model_file(name)).exists()
                and not any(model_mistakes(config, columns, size, name))
            )
        ):
            chosen.append((size, name))
    return list(dict.fromkeys(chosen))


def has_attention(model_config: Mapping[str, Any]) -> bool:
    """True for a network one of whose attentions can be shown: autoint, or weighted_sum."""
    has_autoint = model_config["interaction"] == "autoint" and model_config["interaction_layers"]
    return bool(has_autoint) or model_config["pooling"] == "weighted_sum"
