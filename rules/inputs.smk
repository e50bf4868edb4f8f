# Inputs of rules, and plots as the report shows them.
import os

from tossctr.catalog.digests import scoring_of
from tossctr.catalog.model_kinds import check_job, compared_models
from tossctr.raw.location import Location
from tossctr.raw.parts import part_name, read_parts
from tossctr.raw.raw_files import check_local

# The model file that predicts the test file.
LAST_MODEL = "results/{size}/{model}/model.safetensors"
FEATURE_MAPS = ["data/h5/{size}/feature_map.json"]
if config["submission"]["refit"]:
    LAST_MODEL = "results/{size}/{model}/refit/model.safetensors"
    FEATURE_MAPS.append("data/h5/{size}/all_rows/feature_map.json")


def local(*locations):
    """The local files of raw tables; their times are ignored if they have a version.

    Scripts get the paths from their params, since Snakemake would take remote files for local ones.
    """
    files = [file for each in locations if each and not each.is_remote for file in each.files]
    return [ancient(str(file)) if RAW.has_version(file) else str(file) for file in files]


def upstream(job):
    """The drawn rows and feature maps for the size of a job or a scoring.

    For rules that do not read them: Snakemake does not miss one whose step failed before a training.
    """
    return collect(["data/samples/{size}.json", *FEATURE_MAPS], size=job.size)


def submitting(path):
    """Input function: the file of each model that submits for the job's size."""
    return no_traceback(
        lambda wildcards: collect(
            path, size=wildcards.size, model=submission_models(config, wildcards.size)
        )
    )


def listed_parts(table, wildcards):
    """The parts of a raw table, which are known once `sample` or `list_parts` has run."""
    if table is None:
        raise UserError(
            "raw.test is null, so there are no rows to predict: for a submission name the test "
            "file in raw.test; docs/scoring.md says how to score other files"
        )
    if table is RAW.test:
        return read_parts(Path(checkpoints.list_parts.get().output.parts)).parts
    check_job(config, COLUMNS, dict(wildcards.items()))
    return read_parts(Path(checkpoints.sample.get(size=wildcards.size).output.parts)).parts


def job_part(table, wildcards):
    """The job's part of a raw table."""
    return listed_parts(table, wildcards)[int(wildcards.part)]


def part_files(table, wildcards):
    """The raw files of the job's part of a raw table."""
    return [piece.file for piece in job_part(table, wildcards).pieces]


def part_raw(table):
    """Input function: the local raw files of the job's part of a table."""
    return no_traceback(lambda wildcards: local(*map(Location, part_files(table, wildcards))))


def parts_of(table, path):
    """Input function: the file of each part of a table, for the job or each model that submits."""

    def files(wildcards):
        parts = map(part_name, range(len(listed_parts(table, wildcards))))
        models = {"model": submission_models(config, wildcards.size)} if "{model}" in path else {}
        return collect(path, **dict(wildcards.items()) | models, part=list(parts))

    return no_traceback(files)


train_parts = parts_of(RAW.train, "data/h5/{size}/train/part{part}.h5")
valid_parts = parts_of(RAW.train, "data/h5/{size}/valid/part{part}.h5")
test_parts = parts_of(RAW.test, "data/h5/test/part{part}.h5") if RAW.test else []


def plot(path, category, subcategory=None, caption=None):
    """A plot, with its category in the report."""
    name = Path(path).stem
    return report(
        path,
        caption=f"captions/{caption or name}.rst",
        category=category,
        subcategory=subcategory,
        labels={"plot": name.replace("_", " ")},
    )


def model_plot(name, caption=None):
    """A plot of one model."""
    path = f"results/{{size}}/{{name}}/plots/{name}.svg"
    return plot(path, "Single models", "{size} {name}", caption)


@no_traceback
def plot_data(wildcards):
    """The file that one model's plot is drawn from; an error if its kind has no such plot."""
    kind = kind_of(wildcards.name)
    if wildcards.plot == "importance":
        return f"results/{wildcards.size}/{wildcards.name}/importance.json"
    if not kind.has_learning_curves:
        raise UserError(f"{wildcards.name} has no learning curves; its kind writes none")
    return f"results/{wildcards.size}/{wildcards.name}/history.csv"


def targets():
    """The target files of this call; a target rule, such as `all`, stands for its inputs."""
    settings = workflow.dag_settings
    # Jobs that Snakemake starts by name (on another host, or by hand) have no targets.
    asked = settings.targets or {workflow.default_target} if not settings.target_jobs else ()
    files = []
    for target in asked:
        is_rule = workflow.is_rule(target)
        files += map(str, workflow.get_rule(target).input) if is_rule else [target]
    return files


@no_traceback
def compared_jobs(wildcards):
    """Size and name of each model in the comparison."""
    return compared_models(config, RESULTS, map(os.path.relpath, targets()))


def compared(path, among=lambda size, name: True):
    """Input function: the file of each model in the comparison, or of some."""
    return lambda wildcards: [
        file
        for size, name in compared_jobs(wildcards)
        if among(size, name)
        for file in collect(path, size=size, name=name)
    ]


def scored_files(scoring, column=COLUMNS.id):
    """The local files, checked before trainings and before Snakemake removes earlier scores."""
    if workflow.is_main_process:
        check_local(scoring.files, COLUMNS, column)
    return local(*scoring.files)


def scored(value):
    """Input function or setting: a `value` of the job's `Scoring`."""
    return no_traceback(lambda wildcards: value(scoring_of(config, COLUMNS, wildcards.scored)))


def scored_params():
    """The files of the job's `Scoring`, their versions, and its models' dependencies."""
    return settings(
        input=scored(lambda scoring: list(map(str, scoring.files))),
        versions=scored(lambda scoring: list(map(file_version, scoring.files))),
        delimiter=TABLE["raw"]["delimiter"],
        dependencies=dependency_digest("score", jobs=scored(lambda scoring: scoring.jobs)),
    )
