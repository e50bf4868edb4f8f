# Params of rules, which make a step stale when they change, and what the family of a model needs.
import functools
import os
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

from feseq.catalog.models import (
    model_settings,
    submission_models,
    submission_weights,
    variant_settings,
)
from feseq.config.columns import described
from feseq.config.declared import fields_of
from feseq.config.names import MODEL_FILE
from feseq.config.sizes import size_block
from feseq.catalog.space import space_of
from feseq.catalog.families import FAMILIES, family_of, is_model
from feseq.family.expected_time import expected_time
from feseq.raw.origin import warm_start_file
from feseq.staleness import Code, digest, not_counted, settings

CODE = Code(SCRIPTS, Path(".snakemake/code_digests.json"))
HAS_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
# The config files of this call, and its folder where it names one, for commands that pages print.
CONFIG_FILES = list(map(str, workflow.overwrite_configfiles))
CONFIG_OPTIONS = ["--configfile"] * bool(CONFIG_FILES) + CONFIG_FILES
if workflow.overwrite_workdir is not None:
    CONFIG_OPTIONS = ["--directory", os.getcwd(), *CONFIG_OPTIONS]
# Settings of a training that change its result by rounding at most.
LAYOUT = ("gpus", "nodes")


@functools.cache
def code_of(script, entries=(), families=()):
    """Digests of what a script runs, and of entry points of some families, one a module."""
    paths = [
        f"{family.package}.{family.entry_points[entry]}".replace(".", "/") + ".py"
        for family in map(FAMILIES.get, families)
        for entry in entries
        if entry in family.entry_points
    ]
    return CODE.of(f"{script}.py", *paths)


def code(script, *entries):
    """Params that change with the code of a script, and of entry points of the job's family."""
    if not entries:
        return code_of(script)

    @clear_errors
    def of_job(wildcards):
        return code_of(script, entries, (family_of(wildcards.model).name,))

    return [
        lambda wildcards, text=text: text if text in of_job(wildcards) else ""
        for text in code_of(script, entries, tuple(FAMILIES))
    ]


@functools.cache
def settings_of(size, model):
    """The settings of a model by block."""
    return model_settings(config, size, model)


def model_params():
    """The settings of the job's model by dotted name, those of its family alone."""

    def value(block, key):
        @clear_errors
        def of_job(wildcards):
            found = settings_of(wildcards.size, wildcards.model)
            return found[block][key] if block in found else ...

        return of_job

    counted, rounding = {}, {}
    for each in FAMILIES.values():
        for block, declared in each.blocks.items():
            for key in fields_of(declared):
                chosen = rounding if key in LAYOUT else counted
                chosen[f"settings.{block}.{key}"] = value(block, key)
    return settings(**counted) | not_counted(**rounding)


def counted_settings(size, model):
    """The settings of a model that count, by block."""
    return {
        block: {key: value for key, value in found.items() if key not in LAYOUT}
        for block, found in settings_of(size, model).items()
    }


@clear_errors
def tuning_space(wildcards):
    """The settings of the job's family that a search draws."""
    return space_of(config["tuning"]["space"], tuple(family_of(wildcards.model).blocks))


@clear_errors
def variant(wildcards):
    """What the variant of the job's model changes, by block."""
    return variant_settings(config, wildcards.size, wildcards.model)


@clear_errors
def model_env(wildcards):
    """The environment of the job's model."""
    return f"../envs/{family_of(wildcards.model).environment}.yaml"


@clear_errors
def layout(wildcards):
    """Machines that train the job's model, and the GPUs of each."""
    own = family_of(wildcards.model)
    return own.layout(config, wildcards.size, wildcards.model, HAS_CONDA)


@clear_errors
def inference_gpus(wildcards):
    """GPUs that the job's model predicts with."""
    return family_of(wildcards.model).inference_gpus


def start_model(size, model):
    """The model that a training starts from, with its version, or None."""
    own = results() / size / model / MODEL_FILE
    return warm_start_file(family_of(model).start_from(settings_of(size, model)), own)


@clear_errors
def start_version(wildcards):
    """The version of that model; None if there is none, or if rules here make it."""
    start = start_model(wildcards.size, wildcards.model)
    return start and start[1]


def lineage(*job):
    """Size and name of a model, and of those that its training starts from, one after the other."""
    jobs = [job]
    while start := start_model(*jobs[-1]):
        match Path(start[0]).parts:
            case ["results", size, name, *_] if (
                size in config["sizes"] and is_model(name) and (size, name) not in jobs
            ):
                jobs.append((size, name))
            case _:
                break
    return jobs


def size_param(name):
    """A key of the size's block in the config."""
    return clear_errors(lambda wildcards: size_block(config, wildcards.size)[name])


def rows_shown(wildcards, resources):
    """How many rows a training reads and how long it may take, for its message.

    It counts for nothing, as it has `resources`.
    """
    there = config["simulation"]["train_rows"] if RAW.simulated else TRAIN_ROWS
    known = [
        rows for rows in (size_block(config, wildcards.size)["rows"], there) if rows
    ]
    if not known:
        return "all rows"
    found = {}
    for block in settings_of(wildcards.size, wildcards.model).values():
        found |= block
    rows = round(min(known) * (1 - config["sampling"]["valid_share"]))
    time = expected_time(results(), wildcards.model, rows, found)
    return ", ".join([f"{min(known):,} rows", *[time] * bool(time)])


def size_weights(wildcards):
    """The models that submit for the job's size, with their weights; None: these are fitted."""
    return submission_weights(config, wildcards.size)


@clear_errors
def submitting_scalings(wildcards):
    """How the models that submit for the job's size scale numeric columns."""
    models = submission_models(config, wildcards.size)
    found = [settings_of(wildcards.size, model).get("model", {}) for model in models]
    return sorted({block["scaling"] for block in found if "scaling" in block})


# Each file is looked at once, and only for jobs that read it.
file_version = clear_errors(RAW.version)


def column_params(*others):
    """The roles of columns for a script, and a text a column by which they count.

    So Snakemake names the columns that came, went or changed, not all that stayed.
    """
    roles = COLUMNS.plain(*others)
    order = f"columns {digest(roles)}"
    texts = [
        *(f"column {name}: {text}" for name, text in described(roles).items()),
        order,
    ]
    counted = {
        f"column_{i}": lambda wildcards, text=text: text for i, text in enumerate(texts)
    }
    return counted | not_counted(columns=roles)


def raw_params(**raw):
    """The versions of raw files, and the locations of those that are not local."""
    versions = {
        f"{name}_version": lambda wildcards, location=location: file_version(location)
        for name, location in raw.items()
    }
    # Snakemake would take remote ones for local paths.
    others = {
        name: place for name, place in raw.items() if not place or place.is_remote
    }
    return versions | {name: place and place.written for name, place in others.items()}


def part_params(table):
    """The version of the job's part of a table, and the locations of files not local."""

    @clear_errors
    def version(wildcards):
        part = listed(table, wildcards)[int(wildcards.part)]
        return f"{part.version} {part.draw}".strip()

    raw = clear_errors(functools.partial(part_files, table))
    is_remote = table is not None and table.is_remote
    return {"part_version": version} | ({"raw": raw} if is_remote else {})


def upstream(models, *without, test=False):
    """A digest of all that a last file depends on, for its params.

    Snakemake removes the outputs of a step that failed, and does not miss them while a file made
    from the earlier ones is there; that file is stale by this digest. It has the raw files, those
    of the `test` where that counts, the settings of data and models, and all code but that of
    families of no model and some packages. `models` gives size and name of the models behind a job.
    """

    @clear_errors
    def of_job(wildcards):
        chosen = list(models(wildcards))
        trained = [each for job in chosen if is_model(job[1]) for each in lineage(*job)]
        found = {
            "/".join(job): [counted_settings(*job), start_model(*job)]
            for job in trained
        }
        families_behind = {family_of(name).name for _, name in trained}
        others = [f"families/{name}" for name in {*FAMILIES} - families_behind]
        submits = (test and trained) or any(name == BLEND for _, name in chosen)
        sizes = {size: size_block(config, size) for size, _ in [*chosen, *trained]}
        simulation = dict(config["simulation"])
        if not test:
            simulation.pop("test_rows")
        return digest(
            [
                CODE.all_but("serve", "tune", *others, *without),
                [file_version(RAW.train), file_version(RAW.test) if test else None],
                simulation if RAW.simulated else None,
                [COLUMNS.plain("label", "id", "shared", "ids"), config["parts"]],
                config["sampling"],
                {
                    size: [block["rows"], block["min_count"]]
                    for size, block in sizes.items()
                },
                [found, config["submission"] if submits else None],
            ]
        )

    return of_job


# Code that no metric of a model depends on.
AFTER_METRICS = ("describe", "predict/scoring", "predict/submission")


def named_jobs(wildcards):
    """Size and name of the models behind the job's name, which may be the blend's."""
    behind = submitting_jobs(wildcards) if wildcards.name == BLEND else []
    return [(wildcards.size, wildcards.name), *behind]


def submitting_jobs(wildcards):
    """Size and name of the models that submit for the job's size."""
    return [
        (wildcards.size, name) for name in submission_models(config, wildcards.size)
    ]


def submitting_codes(wildcards):
    """Digests of the code that predicts by each of these models, as its predictions name it."""
    return {
        name: code_of("predict", ("load",), (family_of(name).name,))
        for _, name in submitting_jobs(wildcards)
    }
