# Config check, wildcard constraints, and the input functions of more than one rule.
import functools
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

sys.path.insert(0, f"{workflow.basedir}/scripts")
from feseq.catalog import (
    BASELINES,
    MODEL_PATTERN,
    compared_models,
    has_attention,
    is_feseq,
    model_settings,
    submission_weights,
)
from feseq.code import code_digests
from feseq.columns import Columns
from feseq.errors import UserError
from feseq.location import is_remote, version_of
from feseq.params import as_setting
from feseq.shards import read_shards
from feseq.settings import check_config, check_raw, check_targets, locate_raw

# Jobs inherit it: OpenMP's threads, which wait for one another in loops, soon go to sleep instead.
# Beside other work on the same cores a training is several times as fast, alone a few percent slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# All that can be found wrong before a job runs; here, where an error comes without a traceback.
try:
    with open(f"{workflow.basedir}/config/config.schema.yaml") as schema:
        check_config(config, yaml.safe_load(schema))
    check_targets(config, sys.argv[1:])
    COLUMNS = Columns.from_config(config["columns"])
    RAW = locate_raw(config["raw"])
    # Jobs need not ask again, which for a remote file takes requests.
    if workflow.is_main_process:
        check_raw(RAW, COLUMNS.id)
except UserError as error:
    raise WorkflowError(str(error)) from None

if RAW.simulated and workflow.is_main_process:
    logger.warning(RAW.reason)


wildcard_constraints:
    split="train|test",
    size="toy|medium|full",
    model=MODEL_PATTERN,
    baseline="|".join(BASELINES),
    other="ensemble|" + "|".join(BASELINES),
    name=rf"{MODEL_PATTERN}|ensemble|{'|'.join(BASELINES)}",
    shard=r"\d+",


def code(rule):
    """Params that change when the code of a rule's script does, one a module."""
    return code_digests(Path(workflow.basedir) / f"scripts/{rule}.py")


def settings(**values):
    """Params that change when a setting does, one `name=value` a setting.

    A value may be a function of the wildcards. The name is part of the text because Snakemake
    compares the values of all params as a set; and functions, because it looks for wildcards
    between the braces of plain text.
    """

    def param(name, value):
        return lambda wildcards: as_setting(
            name, value(wildcards) if callable(value) else value
        )

    return {
        name.replace(".", "_"): param(name, value) for name, value in values.items()
    }


def not_counted(name, value):
    """A setting that makes nothing stale: so it is with params that depend on resources."""
    return lambda wildcards, resources: as_setting(name, value(wildcards))


def of_size(*names):
    """Settings of the job's size: keys of its block in the config."""
    return {
        name: lambda wildcards, name=name: config["sizes"][wildcards.size][name]
        for name in names
    }


def columns(*others):
    """The columns that a step reads, and of `label`, `id`, `shared` those named."""
    return {f"columns.{name}": value for name, value in COLUMNS.plain(*others).items()}


def of_model():
    """Settings of the job's model: the network's and the training's, and the max_len."""

    def value(block, key):
        def of_job(wildcards):
            try:
                return model_settings(config, wildcards.size, wildcards.model)[block][
                    key
                ]
            except UserError as error:
                raise WorkflowError(str(error)) from None

        return of_job

    any_model = model_settings(
        config, "full", f"len{config['sizes']['full']['max_len'][0]}"
    )
    names = [
        (block, key)
        for block in ("model_config", "train_config")
        for key in any_model[block]
    ]
    return {f"{block}.{key}": value(block, key) for block, key in names}


def gpus_of_model(wildcards):
    """GPUs that train the job's model."""
    return model_settings(config, wildcards.size, wildcards.model)["gpus"]


def weights_of_size(wildcards):
    """Setting of the job's size: the models that submit, and their weights."""
    return submission_weights(config, wildcards.size)


def has_version(location):
    """True for the user's parquet files, and for all remote ones.

    The stand-in has settings, and of a local sample submission Snakemake sees content or time.
    """
    if location is None:
        return False
    of_user = not RAW.simulated and location in (RAW.train, RAW.test)
    return of_user or is_remote(location)


def local(**raw):
    """Inputs: those raw files that are local; the time of those with a version does not count."""
    return {
        name: ancient(path) if has_version(path) else path
        for name, path in raw.items()
        if path is not None and not is_remote(path)
    }


def remote(**raw):
    """Settings: the other raw files, which Snakemake would take for local paths, and null for none."""
    return {
        name: location
        for name, location in raw.items()
        if location is None or is_remote(location)
    }


@functools.cache
def version(location):
    """What changes with the content of a raw file, whatever its time."""
    if not has_version(location):
        return None
    try:
        return version_of(location)
    except UserError as error:
        raise WorkflowError(str(error)) from None


def raw_version(location):
    """Setting: the version of a raw file, looked up only for jobs that read it."""
    return lambda wildcards: version(location)


def upstream_of_size(wildcards):
    """Setting of the job's size: a digest of all that its submission is made of.

    Snakemake removes the outputs of a step that failed, and misses them no more where a submission
    made of the ones before is there; so the submission itself is stale.
    """
    size = wildcards.size
    steps = (
        "sample",
        "convert_train",
        "convert_test",
        "fit_feature_map",
        "train",
        "predict",
    )
    made_of = [code(step) for step in steps]
    made_of += [
        model_settings(config, size, model)[block]
        for model in submission_weights(config, size)
        for block in ("model_config", "train_config")
    ]
    made_of += [config["sizes"][size][key] for key in ("rows", "min_count")]
    made_of += [
        config["sampling"],
        config["test"],
        COLUMNS.plain("label", "id", "shared"),
    ]
    made_of += [version(RAW.train), version(RAW.test)]
    made_of += [code("simulate"), config["simulation"]] if RAW.simulated else []
    text = json.dumps(made_of, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


def figures_of_compared(wildcards):
    """The figures of each model in the comparison but the baselines."""
    for size, name in compared_models(config, Path("results")):
        figures = [] if name in BASELINES else ["roc_pr", "calibration", "slices"]
        if is_feseq(name):
            model = model_settings(config, size, name)["model_config"]
            figures += ["learning_curves"] + ["attention"] * has_attention(model)
        yield from (f"results/{size}/{name}/figures/{figure}.svg" for figure in figures)
