# Params of rules, which make a step stale when they change, and settings of a model's family.
import functools
import os
from pathlib import Path

from tossctr.catalog.digests import ENTRY_POINTS, ROUNDING, Digests
from tossctr.catalog.model_kinds import (
    FAMILIES,
    family_of,
    is_model,
    model_settings,
    submission_models,
    submission_weights,
    variant_settings,
)
from tossctr.catalog.schema import sampling_of, space_of, submission_prior, table_score
from tossctr.config.columns import described
from tossctr.config.declared import fields_of
from tossctr.models.base import size_block
from tossctr.staleness import Code, digest, not_counted, settings

CODE = Code(SCRIPTS, Path(".snakemake/code_digests.json"))
DIGESTS = Digests(config, RAW, COLUMNS, CODE)


def code(script):
    """A param that changes with the code of a script, and of the family of the job's model."""
    if script not in ENTRY_POINTS:
        return f"code {DIGESTS.code(script)}"
    return clear_errors(lambda wildcards: f"code {DIGESTS.code(script, wildcards.model)}")


@functools.cache
def settings_of(size, model):
    """The settings of a model by block."""
    return model_settings(config, size, model)


def model_params():
    """The settings of the job's model by dotted name, those of its family alone."""

    def value(block, key):
        @clear_errors
        def job_value(wildcards):
            blocks = settings_of(wildcards.size, wildcards.model)
            return blocks[block][key] if block in blocks else ...

        return job_value

    counted, rounding = {}, {}
    for family in FAMILIES.values():
        for block, declared in family.blocks.items():
            for key in fields_of(declared):
                chosen = rounding if key == ROUNDING else counted
                chosen[f"settings.{block}.{key}"] = value(block, key)
    return settings(**counted) | not_counted(**rounding)


@clear_errors
def model_env(wildcards):
    """The environment of the job's model."""
    return f"../envs/{family_of(wildcards.model).environment}.yaml"


@clear_errors
def training_gpus(wildcards):
    """GPUs that train the job's model."""
    return family_of(wildcards.model).gpus(config, wildcards.size, wildcards.model)


@clear_errors
def inference_gpus(wildcards):
    """GPUs that the job's model predicts with."""
    return family_of(wildcards.model).inference_gpus


def size_key(name):
    """A key of the size's block in the config."""
    return clear_errors(lambda wildcards: size_block(config, wildcards.size)[name])


def size_weights(wildcards):
    """The models that submit for the job's size, with their weights; None: these are fitted."""
    return submission_weights(config, wildcards.size)


@clear_errors
def are_weights_fitted(wildcards):
    """True where the weights of the models that submit for the job's size are fitted."""
    return size_weights(wildcards) is None


# The version of each file is taken once, and only for jobs that read it.
file_version = clear_errors(RAW.version)


def column_params(*others):
    """The roles of columns for a script, and a text for each column.

    Snakemake compares the texts, and so names the columns that were added, removed or changed.
    """
    roles = COLUMNS.plain(*others)
    texts = [f"column {name}: {text}" for name, text in described(roles).items()]
    texts.append(f"columns {digest(roles)}")  # their order
    counted = {f"column_{i}": lambda wildcards, text=text: text for i, text in enumerate(texts)}
    return counted | not_counted(columns=roles)


def raw_params(**raw):
    """The versions of raw files, and the locations of those that are not local."""
    versions = {
        f"{name}_version": lambda wildcards, location=location: file_version(location)
        for name, location in raw.items()
    }
    # Snakemake would take remote ones for local paths.
    others = {name: place for name, place in raw.items() if not place or place.is_remote}
    return versions | {name: place and place.written for name, place in others.items()}


def part_params(table):
    """The version of the job's part of a table, and the locations of files not local."""

    @clear_errors
    def version(wildcards):
        part = listed(table, wildcards).parts[int(wildcards.part)]
        return f"{part.version} {part.draw}".strip()

    raw = clear_errors(functools.partial(part_files, table))
    is_remote = table is not None and table.is_remote
    return {"part_version": version} | ({"raw": raw} if is_remote else {})


def dependency_digest(jobs, *scripts, test=False):
    """A digest of all that a final file depends on; `jobs` gives the models behind it."""
    return clear_errors(lambda wildcards: DIGESTS.dependencies(jobs(wildcards), scripts, test))


def model_jobs(wildcards):
    """Size and name of the job's model."""
    return [(wildcards.size, wildcards.model)]


def named_jobs(wildcards):
    """Size and name of the models behind the job's name, which may be the blend's."""
    behind = submitting_jobs(wildcards) if wildcards.name == BLEND else []
    return [(wildcards.size, wildcards.name), *behind]


def submitting_jobs(wildcards):
    """Size and name of the models that submit for the job's size."""
    return [(wildcards.size, name) for name in submission_models(config, wildcards.size)]


def submitted_jobs(wildcards):
    """Size and name of these models, and of their blend where its weights are fitted."""
    blend = [(wildcards.size, BLEND)] if are_weights_fitted(wildcards) else []
    return [*submitting_jobs(wildcards), *blend]
