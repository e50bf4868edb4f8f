# Params of rules: what makes a step stale when it changes.
from pathlib import Path

from feseq.config.catalog import (
    model_settings,
    size_block,
    submission_models,
    submission_weights,
)
from feseq.config.names import is_feseq
from feseq.predict.older_model import older_model
from feseq.raw.source import others_than_local
from feseq.staleness.code import code_digests
from feseq.staleness.model_params import (
    boosting_params,
    model_params,
    tuning_params,
    variant_of_boosting,
)
from feseq.staleness.params import (
    not_counted,
    params_digest,
    settings,
)


def code(rule):
    """Params that change when the code of a rule's script does, one a module."""
    kept = Path(".snakemake/code_digests.json")
    return code_digests(SCRIPTS / f"{rule}.py", kept)


def size_param(name):
    """A key of the size's block in the config."""
    return clear_errors(lambda wildcards: size_block(config, wildcards.size)[name])


def sampling_params(*names):
    """Those keys of `sampling` in the config."""
    return {f"sampling.{name}": config["sampling"][name] for name in names}


def column_params(*others):
    """The columns that a step reads, and of `label`, `id`, `shared`, `ids` those named."""
    return {f"columns.{name}": value for name, value in COLUMNS.plain(*others).items()}


def model_gpus(wildcards):
    """GPUs of each machine that trains the job's model."""
    return model_settings(config, wildcards.size, wildcards.model)["gpus"]


def model_nodes(wildcards):
    """Machines that train the job's model."""
    return model_settings(config, wildcards.size, wildcards.model)["nodes"]


@clear_errors
def older_start(wildcards):
    """The older model that the job's training goes on from, with its version, or None."""
    settings = model_settings(config, wildcards.size, wildcards.model)
    own = results() / wildcards.size / wildcards.model / "model.safetensors"
    return older_model(settings["train_config"]["start_from"], own)


def start_version(wildcards):
    """The version of that model; None if there is none, or if rules here make it."""
    start = older_start(wildcards)
    return start and start[1]


def size_weights(wildcards):
    """The models that submit for the job's size, with their weights; None: these are fitted."""
    return submission_weights(config, wildcards.size)


@clear_errors
def submitting_scalings(wildcards):
    """How the models that submit for the job's size scale numeric columns."""
    models = filter(is_feseq, submission_models(config, wildcards.size))
    settings = [model_settings(config, wildcards.size, model) for model in models]
    return sorted({model["model_config"]["scaling"] for model in settings})


# Each file is looked at once, and only for jobs that read it.
file_version = clear_errors(RAW.version)


def raw_params(**raw):
    """The versions of raw files, and the locations of those that are not local."""
    versions = {
        f"{name}_version": lambda wildcards, location=location: file_version(location)
        for name, location in raw.items()
    }
    return versions | others_than_local(raw)


def part_params(table):
    """The version of the job's part of a table, and the locations of files not local."""

    @clear_errors
    def version(wildcards):
        # A digest of all steps behind a file has the version of the whole table.
        if not hasattr(wildcards, "part"):
            return None
        part = listed(table, wildcards)[int(wildcards.part)]
        return f"{part.version} {part.draw}".strip()

    @clear_errors
    def raw(wildcards):
        return (
            part_location(table, wildcards).written
            if hasattr(wildcards, "part")
            else None
        )

    return {"part_version": version} | ({"raw": raw} if table.is_remote else {})


def upstream(steps):
    """A digest of the params of all steps that a file is made by; `steps` gives those of a job."""
    return lambda wildcards: params_digest(
        steps(wildcards), lambda step: getattr(rules, step).params
    )
