"""All steps behind the last files of the workflow."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.catalog import (
    compared_models,
    has_attention,
    model_settings,
    submission_models,
    submission_weights,
)
from ..config.names import BASELINES, ENSEMBLE, is_boosting, is_feseq, is_model

# A rule and the wildcards of its job.
Step = tuple[str, dict[str, str]]


def data_steps(size: str, simulated: bool) -> Iterator[Step]:
    """Steps up to the H5 files and the feature map of a size."""
    yield from _training_steps(size, [], simulated)
    yield from _test_steps(simulated)


def submission_steps(config: Mapping[str, Any], size: str, simulated: bool) -> Iterator[Step]:
    """Steps up to the predictions of the models that submit, one for all parts of a model."""
    models = submission_models(config, size)
    yield from scoring_steps(config, size, models, simulated)
    yield from _test_steps(simulated)
    for model in models:
        yield rule_of("predict", model), {"size": size, "model": model}


def scoring_steps(
    config: Mapping[str, Any], size: str, models: Sequence[str], simulated: bool
) -> Iterator[Step]:
    """Steps up to the models that submit or score, and their weights."""
    yield from _training_steps(size, models, simulated)
    if config["submission"]["refit"]:
        yield "fit_feature_map_to_all", {"size": size}
        for model in models:
            yield rule_of("refit", model), {"size": size, "model": model}
    if len(models) > 1 and submission_weights(config, size) is None:
        for model in models:
            yield rule_of("evaluate", model), {"size": size, "model": model}
        yield "ensemble", {"size": size}


def fold_steps(size: str, model: str, folds: int, simulated: bool) -> Iterator[Step]:
    """Steps up to a model's predictions of each fold; they follow the model's own training."""
    yield from _training_steps(size, [model], simulated)
    yield "draw_folds", {"size": size}
    for fold in range(1, 1 + folds):
        job = {"size": size, "model": model, "fold": str(fold)}
        yield rule_of("train_fold", model), job
        yield rule_of("evaluate_fold", model), job


def comparison_steps(config: Mapping[str, Any], results: Path, simulated: bool) -> Iterator[Step]:
    """Steps up to the metrics of all models; those that models share come once for each."""
    for size, name in compared_models(config, results):
        yield from measured_steps(size, name, simulated)


def measured_steps(size: str, name: str, simulated: bool) -> Iterator[Step]:
    """Steps up to the metrics of a model or baseline."""
    yield from _training_steps(size, [name] if is_model(name) else [], simulated)
    if is_model(name):
        yield rule_of("evaluate", name), {"size": size, "model": name}
    elif name == ENSEMBLE:
        yield "ensemble", {"size": size}
    else:
        yield "fit_baseline", {"size": size, "baseline": name}
    yield "measure", {"size": size, "name": name}


def summary_steps(config: Mapping[str, Any], results: Path) -> Iterator[Step]:
    """The comparison, whose param covers the steps behind it, and the figures of all models."""
    yield "compare", {}
    yield "plot_comparison", {}
    for size, model in explained_models(config):
        yield rule_of("importance", model), {"size": size, "model": model}
        yield "plot_importance", {"size": size, "name": model}
    yield from figure_steps(config, results)


def explained_models(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Size and name of the models whose importance the summary shows: those that submit."""
    for size in config["evaluation"]["sizes"]:
        for model in submission_models(config, size):
            yield size, model


def figure_steps(config: Mapping[str, Any], results: Path) -> Iterator[Step]:
    """Steps that draw the models in the comparison; baselines are not drawn."""
    for size, name in compared_models(config, results):
        if name in BASELINES:
            continue
        if not is_feseq(name):
            yield "plot_other", {"size": size, "other": name}
            continue
        yield "plot_model", {"size": size, "model": name}
        if has_attention(model_settings(config, size, name)["model_config"]):
            yield "plot_attention", {"size": size, "model": name}


def _training_steps(size: str, models: Sequence[str], simulated: bool) -> Iterator[Step]:
    """Steps up to the trained models of a size."""
    if simulated:
        yield "simulate", {"split": "train"}
    for step in ("sample", "convert_train", "fit_feature_map"):
        yield step, {"size": size}
    for model in models:
        yield rule_of("train", model), {"size": size, "model": model}


def rule_of(step: str, model: str) -> str:
    """The rule of a step for a model of either family: `train`, or `train_boosting`."""
    return f"{step}_boosting" if is_boosting(model) else step


def _test_steps(simulated: bool) -> Iterator[Step]:
    """Steps up to the test table, one for all of its parts."""
    if simulated:
        yield "simulate", {"split": "test"}
    yield "list_test", {}
    yield "convert_test", {}
