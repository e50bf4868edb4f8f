"""The steps that the last files of the workflow are made by, directly or not."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.catalog import (
    BASELINES,
    ENSEMBLE,
    compared_models,
    has_attention,
    is_feseq,
    model_settings,
    submission_weights,
)

# The name of a rule, and the wildcards of a job.
Step = tuple[str, dict[str, str]]


def steps_of_submission(config: Mapping[str, Any], size: str, simulated: bool) -> Iterator[Step]:
    """Up to the predictions of the models that submit; one step for all shards of a model."""
    models = list(submission_weights(config, size))
    yield from _steps_of_models(size, models, simulated)
    if simulated:
        yield "simulate", {"split": "test"}
    yield "convert_test", {}
    for model in models:
        yield "predict", {"size": size, "model": model}


def steps_of_comparison(
    config: Mapping[str, Any], results: Path, simulated: bool
) -> Iterator[Step]:
    """Up to the metrics of all models; those in common come once for each."""
    for size, name in compared_models(config, results):
        yield from _steps_of_models(size, [name] if is_feseq(name) else [], simulated)
        if is_feseq(name):
            yield "evaluate", {"size": size, "model": name}
        elif name == ENSEMBLE:
            yield "ensemble", {"size": size}
        else:
            yield "fit_baseline", {"size": size, "baseline": name}
        yield "measure", {"size": size, "name": name}


def steps_of_summary(config: Mapping[str, Any], results: Path) -> Iterator[Step]:
    """The comparison, which has steps of its own, and the figures of all models."""
    yield "compare", {}
    yield "plot_comparison", {}
    yield from steps_of_figures(config, results)


def steps_of_figures(config: Mapping[str, Any], results: Path) -> Iterator[Step]:
    """Those that draw the models in the comparison, without the baselines."""
    for size, name in compared_models(config, results):
        if name in BASELINES:
            continue
        if not is_feseq(name):
            yield "plot_other", {"size": size, "other": name}
            continue
        yield "plot_model", {"size": size, "model": name}
        if has_attention(model_settings(config, size, name)["model_config"]):
            yield "plot_attention", {"size": size, "model": name}


def _steps_of_models(size: str, models: Sequence[str], simulated: bool) -> Iterator[Step]:
    """Up to trained models of a size."""
    if simulated:
        yield "simulate", {"split": "train"}
    for step in ("sample", "convert_train", "fit_feature_map"):
        yield step, {"size": size}
    for model in models:
        yield "train", {"size": size, "model": model}
