"""The models of a size, and the settings of each."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common.errors import UserError, did_you_mean
from ..families import Settings, family_of, is_model, variant_of
from .boosting import BoostingConfig
from .columns import Columns
from .model import ModelConfig
from .names import BASELINES, BLEND, MODEL_FILE
from .train import TrainConfig

# Settings that stand at the top and, in part, in sizes and variants on top, by block.
BLOCKS: dict[str, Any] = {"model": ModelConfig, "train": TrainConfig, "boosting": BoostingConfig}


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


def model_settings(config: Mapping[str, Any], size: str, model: str) -> Settings:
    """The settings of one model by block; raises UserError if it is unknown."""
    return family_of(model).settings(config, size, model)


def variant_settings(config: Mapping[str, Any], size: str, model: str) -> Settings:
    """What the variant of a model changes, by block of its family; {} where it has none."""
    model_settings(config, size, model)
    variant = variant_of(model)
    blocks = config["variants"][variant] if variant else {}
    return {block: blocks[block] for block in family_of(model).blocks if blocks.get(block)}


def check_variant(config: Mapping[str, Any], model: str) -> None:
    """Raise UserError if the config has no such variant."""
    variant = variant_of(model)
    if variant and variant not in config["variants"]:
        hint = did_you_mean(variant, config["variants"], "known")
        raise UserError(f"{model}: the config has no variant {variant!r}; {hint}")


def model_mistakes(
    config: Mapping[str, Any], columns: Columns, size: str, model: str
) -> Iterator[str]:
    """What keeps a model from being trained on a table of these columns, one line each."""
    try:
        yield from family_of(model).mistakes(config, columns, size, model)
    except UserError as error:
        yield str(error)


def check_job(config: Mapping[str, Any], columns: Columns, wildcards: Mapping[str, str]) -> None:
    """Raise UserError if the config has no such size, or no such model where a job has one."""
    size_block(config, wildcards["size"])
    if "model" in wildcards:
        for mistake in model_mistakes(config, columns, wildcards["size"], wildcards["model"]):
            raise UserError(mistake)


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

    Those that submit for the sizes of `evaluation.sizes`, their blend and the baselines, and
    every other model trained so far that the config still knows.
    """
    chosen: list[tuple[str, str]] = []
    for size in config["evaluation"]["sizes"]:
        submitting = submission_models(config, size)
        together = [BLEND] if len(submitting) > 1 else []
        chosen += [(size, n) for n in (*submitting, *together, *config["evaluation"]["baselines"])]
    columns = Columns.from_config(config["columns"])
    for path in sorted(results.glob("*/*/training.json")):
        size, name = path.parts[-3:-1]
        if size in config["sizes"] and (
            name in BASELINES
            or (
                is_model(name)
                and (path.parent / MODEL_FILE).exists()
                and not any(model_mistakes(config, columns, size, name))
            )
        ):
            chosen.append((size, name))
    return list(dict.fromkeys(chosen))
