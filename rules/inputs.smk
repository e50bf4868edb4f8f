# Input functions, and plots with their place in the report.
import os

from tossctr.catalog.digests import score_inputs
from tossctr.catalog.model_kinds import check_job, compared_models
from tossctr.raw.location import Location
from tossctr.raw.parts import part_name, read_part_list
from tossctr.raw.raw_files import check_local_tables

# The model that predicts the test file.
LAST_MODEL = "results/{size}/{model}/model.safetensors"
FEATURE_MAPS = ["data/h5/{size}/feature_map.json"]
if config["submission"]["refit"]:
    LAST_MODEL = "results/{size}/{model}/refit/model.safetensors"
    FEATURE_MAPS.append("data/h5/{size}/all_rows/feature_map.json")


def local_files(*locations):
    """The local files of raw tables; the times of files with a version are ignored.

    Scripts get paths from params, since Snakemake would treat remote inputs as local.
    """
    files = [file for each in locations if each and not each.is_remote for file in each.files]
    return [ancient(str(file)) if RAW.has_version(file) else str(file) for file in files]


def upstream(job):
    """The list of drawn rows, and the feature maps, for the size of a job or of ScoreInputs.

    Rules have these inputs, without reading them, so that Snakemake rebuilds missing files.
    """
    return collect(["data/samples/{size}.json", *FEATURE_MAPS], size=job.size)


def of_submission_models(path):
    """Input function: a file of each submission model of the job's size."""
    return no_traceback(
        lambda wildcards: collect(
            path, size=wildcards.size, model=submission_models(config, wildcards.size)
        )
    )


def listed_parts(table, wildcards):
    """The parts of a raw table, known after the checkpoint `sample` or `list_parts`."""
    if table is None:
        raise UserError(
            "raw.test is null, so there are no rows to predict. For a submission, set raw.test to the "
            "test file; to predict other files, see docs/scoring.md"
        )
    if table is RAW.test:
        return read_part_list(Path(checkpoints.list_parts.get().output.parts)).parts
    check_job(config, COLUMNS, dict(wildcards.items()))
    return read_part_list(Path(checkpoints.sample.get(size=wildcards.size).output.parts)).parts


def job_part(table, wildcards):
    """The job's part of a raw table."""
    return listed_parts(table, wildcards)[int(wildcards.part)]


def part_files(table, wildcards):
    """The raw files of the job's part of a raw table."""
    return [piece.file for piece in job_part(table, wildcards).pieces]


def part_raw_files(table):
    """Input function: the local raw files of the job's part of a table."""
    return no_traceback(lambda wildcards: local_files(*map(Location, part_files(table, wildcards))))


def parts_of(table, path):
    """Input function: a file per part of a table, and submission model if `path` has {model}."""

    def files(wildcards):
        parts = map(part_name, range(len(listed_parts(table, wildcards))))
        models = {"model": submission_models(config, wildcards.size)} if "{model}" in path else {}
        return collect(path, **dict(wildcards.items()) | models, part=list(parts))

    return no_traceback(files)


train_parts = parts_of(RAW.train, "data/h5/{size}/train/part{part}.h5")
valid_parts = parts_of(RAW.train, "data/h5/{size}/valid/part{part}.h5")
test_parts = parts_of(RAW.test, "data/h5/test/part{part}.h5") if RAW.test else []


def plot(path, category, subcategory=None, caption=None):
    """Mark a plot for the report, with its category and caption."""
    name = Path(path).stem
    return report(
        path,
        caption=f"captions/{caption or name}.rst",
        category=category,
        subcategory=subcategory,
        labels={"plot": name.replace("_", " ")},
    )


def model_plot(name, caption=None):
    """Mark a plot of one model for the report."""
    path = f"results/{{size}}/{{name}}/plots/{name}.svg"
    return plot(path, "Single models", "{size} {name}", caption)


@no_traceback
def plot_data(wildcards):
    """The data file of one model's plot; an error if the model's kind has no such plot."""
    kind = kind_of(wildcards.name)
    if wildcards.plot == "importance":
        return f"results/{wildcards.size}/{wildcards.name}/importance.json"
    if not kind.has_learning_curves:
        raise UserError(f"{wildcards.name} has no learning curves; request those of a network")
    return f"results/{wildcards.size}/{wildcards.name}/history.csv"


def targets():
    """The requested files; a requested rule, such as `all`, is replaced by its inputs."""
    settings = workflow.dag_settings
    # There are no targets if jobs are started by name (on another host, or by hand).
    requested = settings.targets or {workflow.default_target} if not settings.target_jobs else ()
    files = []
    for target in requested:
        is_rule = workflow.is_rule(target)
        files += map(str, workflow.get_rule(target).input) if is_rule else [target]
    return files


@no_traceback
def compared_jobs(wildcards):
    """The (size, name) of each model in the comparison."""
    return compared_models(config, RESULTS, map(os.path.relpath, targets()))


def compared(path, among=lambda size, name: True):
    """Input function: a file of each compared model for which `among(size, name)` is true."""
    return lambda wildcards: [
        file
        for size, name in compared_jobs(wildcards)
        if among(size, name)
        for file in collect(path, size=size, name=name)
    ]


def scored_files(scoring, column=COLUMNS.id):
    """The local files of ScoreInputs, checked before Snakemake trains or removes old scores."""
    if workflow.is_main_process:
        check_local_tables(scoring.files, COLUMNS, column)
    return local_files(*scoring.files)


def scored(value):
    """Input or params function: `value` of the ScoreInputs of a job."""
    return no_traceback(lambda wildcards: value(score_inputs(config, COLUMNS, wildcards.scored)))


def scored_params():
    """Params: the files to score, their versions, and a digest of what the models depend on."""
    return setting_params(
        input=scored(lambda scoring: list(map(str, scoring.files))),
        versions=scored(lambda scoring: list(map(file_version, scoring.files))),
        delimiter=TABLE["raw"]["delimiter"],
        dependencies=dependency_digest("score", jobs=scored(lambda scoring: scoring.jobs)),
    )
