# Functions for the params of rules: what, when it changes, makes a step stale.
import functools
import hashlib
import inspect
from pathlib import Path
from types import SimpleNamespace

from feseq.config.catalog import model_settings, submission_weights
from feseq.staleness.code import code_digests
from feseq.raw.location import is_remote, version_of
from feseq.staleness.params import as_setting


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


def remote(**raw):
    """Settings: the other raw files, which Snakemake would take for local paths, and null for none."""
    return {
        name: location
        for name, location in raw.items()
        if location is None or is_remote(location)
    }


def upstream(steps):
    """Setting: a digest of the params of all steps that a file is made by.

    Snakemake removes the outputs of a step that failed, and misses them no more where a file made of
    the ones before is there; so that file itself is stale. `steps(wildcards)` gives those of a job.
    """

    def digest(wildcards):
        texts = []
        for step, of_step in steps(wildcards):
            for param in getattr(rules, step).params:
                if not callable(param):
                    texts.append(param)
                elif len(inspect.signature(param).parameters) == 1:
                    texts.append(param(SimpleNamespace(**of_step)))
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]

    return digest
