# Functions for the inputs and outputs of rules.
from pathlib import Path

from feseq.config.catalog import (
    BASELINES,
    compared_models,
    has_attention,
    is_feseq,
    model_settings,
    submission_weights,
)
from feseq.raw.location import is_remote
from feseq.dataset.shards import read_shards


def local(**raw):
    """Inputs: those raw files that are local; the time of those with a version does not count."""
    return {
        name: ancient(path) if has_version(path) else path
        for name, path in raw.items()
        if path is not None and not is_remote(path)
    }


def submitting(file):
    """Input function: `file` of each model that submits for the job's size."""
    return lambda wildcards: [
        file.apply_wildcards({"size": wildcards.size, "model": model})
        for model in submission_weights(config, wildcards.size)
    ]


def shard_predictions(wildcards):
    """One prediction file per model and shard; known once the test file is converted."""
    # `open` gets it from a default storage provider first, if there is one.
    with checkpoints.convert_test.get().output.shards.open() as file:
        try:
            shards = range(len(read_shards(Path(file.name))))
        except UserError as error:
            raise WorkflowError(str(error)) from None
    return [
        rules.predict.output.predictions.apply_wildcards(
            {"size": wildcards.size, "model": model, "shard": shard}
        )
        for model in submission_weights(config, wildcards.size)
        for shard in shards
    ]


def of_compared(path, among=lambda name: True):
    """Input function: `path` under results of each model in the comparison, or some by name."""

    def paths(wildcards):
        models = compared_models(config, Path("results"))
        return [f"results/{path.format(size=s, name=n)}" for s, n in models if among(n)]

    return paths


def figures_of_compared(wildcards):
    """The figures of each model in the comparison but the baselines."""
    for size, name in compared_models(config, Path("results")):
        figures = [] if name in BASELINES else ["roc_pr", "calibration", "slices"]
        if is_feseq(name):
            model = model_settings(config, size, name)["model_config"]
            figures += ["learning_curves"] + ["attention"] * has_attention(model)
        yield from (f"results/{size}/{name}/figures/{figure}.svg" for figure in figures)


def of_report(figure):
    """A figure, of one model or of all, in the place that it has in the report."""
    name, (_, *model, _, _) = Path(figure).stem, Path(figure).parts
    return report(
        figure,
        caption=f"captions/{name}.rst",
        category="Single models" if model else "All models",
        subcategory=" ".join(model) or None,
        labels={"figure": name.replace("_", " ")},
    )
