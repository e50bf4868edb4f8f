# Params of rules, whose changes make a step stale, and settings of a model's kind.
from tossctr.catalog.digests import ROUNDING, Digests
from tossctr.catalog.model_kinds import (
    blocks,
    kind_of,
    is_model,
    model_settings,
    submission_models,
    submission_weights,
    variant_settings,
)
from tossctr.catalog.schema import sampling_of, space_of, submission_prior, table_score
from tossctr.config.declared import fields_of
from tossctr.staleness import Code, not_counted, role_texts, settings

DIGESTS = Digests(config, RAW, COLUMNS, Code(SCRIPTS, Path(".snakemake/code_digests.json")))

# The environment and the GPUs of the job's model.
model_env = without_traceback(
    lambda wildcards: f"../envs/{kind_of(wildcards.model).environment}.yaml"
)
training_gpus = without_traceback(
    lambda wildcards: kind_of(wildcards.model).gpus(config, wildcards.size, wildcards.model)
)
inference_gpus = without_traceback(lambda wildcards: kind_of(wildcards.model).inference_gpus)
# The models that submit for the job's size, with their weights; None: the weights are fitted.
size_weights = without_traceback(lambda wildcards: submission_weights(config, wildcards.size))
tuning_space = without_traceback(
    lambda wildcards: space_of(config["tuning"]["space"], kind_of(wildcards.model).blocks)
)
# Each file's version is computed once, and only for jobs that read the file.
file_version = without_traceback(RAW.version)


def code(script):
    """A param that changes with the code of a script and of the job's model kind."""
    return without_traceback(
        lambda wildcards: f"code {DIGESTS.code(script, wildcards.get('model', ''))}"
    )


def model_params():
    """The settings of the job's model by dotted name, only those of its kind."""

    def value(block, key, wildcards):
        return model_settings(config, wildcards.size, wildcards.model).get(block, {}).get(key, ...)

    values = {
        f"settings.{block}.{key}": without_traceback(functools.partial(value, block, key))
        for block, declared in blocks().items()
        for key in fields_of(declared)
    }
    rounding = {name: values.pop(name) for name in [*values] if name.endswith(f".{ROUNDING}")}
    return settings(**values) | not_counted(**rounding)


def column_params(*others):
    """The column roles for a script, and their texts, which Snakemake compares."""
    roles = COLUMNS.plain(*others)
    return role_texts(roles) | not_counted(columns=roles)


def raw_params(**raw):
    """The locations of raw files, and their versions."""
    return {name: location and location.configured for name, location in raw.items()} | {
        f"{name}_version": lambda wildcards, location=location: file_version(location)
        for name, location in raw.items()
    }


def part_params(table):
    """The files of the job's part of a table, and the part's version."""
    part = without_traceback(functools.partial(job_part, table))
    return {
        "raw": without_traceback(functools.partial(part_files, table)),
        "part_version": lambda wildcards: "{0.version} {0.draw}".format(part(wildcards)).strip(),
    }


def dependency_digest(
    *scripts,
    jobs=lambda wildcards: [(wildcards.size, wildcards.get("model") or wildcards.get("name", ""))],
    test=False,
):
    """A digest of all that a final file depends on; `jobs` gives its models' sizes and names."""
    return without_traceback(lambda wildcards: DIGESTS.dependencies(jobs(wildcards), scripts, test))
