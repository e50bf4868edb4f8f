# Params of rules; a changed param makes a step stale.
from tossctr.catalog.digests import WorkflowDigests
from tossctr.catalog.model_kinds import (
    kind_of,
    is_model,
    submission_models,
    submission_weights,
    variant_settings,
)
from tossctr.catalog.schema import sampling_of, space_of, submission_prior, table_score
from tossctr.staleness import CodeDigests, untracked_params, column_role_params, setting_params

DIGESTS = WorkflowDigests(config, RAW, COLUMNS, CodeDigests(SCRIPTS))

# The conda environment and the GPUs of the job's model; `runtime.device: cpu` needs no GPU.
USES_GPUS = config["runtime"]["device"] != "cpu"
model_env = no_traceback(lambda wildcards: f"../envs/{kind_of(wildcards.model).environment}.yaml")
training_gpus = no_traceback(
    lambda wildcards: USES_GPUS
    * kind_of(wildcards.model).gpus(config, wildcards.size, wildcards.model)
)
inference_gpus = no_traceback(lambda wildcards: USES_GPUS * kind_of(wildcards.model).inference_gpus)
# The weight of each submission model of the job's size; None: the weights are fitted.
size_weights = no_traceback(lambda wildcards: submission_weights(config, wildcards.size))
tuning_space = no_traceback(
    lambda wildcards: space_of(config["tuning"]["space"], kind_of(wildcards.model).blocks)
)
# Each file's version is computed once, and only for jobs that read the file.
file_version = no_traceback(RAW.version)


def code(script):
    """A param with the digest of the code of a script and of the job's model kind."""
    return no_traceback(
        lambda wildcards: f"code {DIGESTS.code_digest(script, wildcards.get('model', ''))}"
    )


def column_params(*extra):
    """Params: the columns by role, for the script, and as texts for Snakemake to compare."""
    roles = COLUMNS.to_dict(*extra)
    return column_role_params(roles) | untracked_params(columns=roles)


def raw_params(**raw):
    """Params: the locations of raw files, and their versions."""
    return {name: location and location.configured for name, location in raw.items()} | {
        f"{name}_version": lambda wildcards, location=location: file_version(location)
        for name, location in raw.items()
    }


def part_params(table):
    """Params: the files of the job's part of a table, and their version."""
    part = no_traceback(functools.partial(job_part, table))
    return {
        "raw": no_traceback(functools.partial(part_files, table)),
        "raw_version": lambda wildcards: "{0.version} {0.draw}".format(part(wildcards)).strip(),
    }


def dependency_digest(
    *scripts,
    jobs=lambda wildcards: [(wildcards.size, wildcards.get("model") or wildcards.get("name", ""))],
    test=False,
):
    """A digest of all that a final file depends on; `jobs` gives its models as (size, name)."""
    return no_traceback(lambda wildcards: DIGESTS.dependency_digest(jobs(wildcards), scripts, test))
