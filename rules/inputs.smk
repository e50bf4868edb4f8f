# Inputs of rules, and plots as the report shows them.
import os
from pathlib import Path

from tossctr.catalog.digests import scoring_of
from tossctr.catalog.model_kinds import check_job, compared_models, submission_models
from tossctr.raw.location import Location, TableLocation
from tossctr.raw.parts import part_name, read_parts
from tossctr.raw.reading import RawTable

# What predicts the test file.
LAST_MODEL = "results/{size}/{model}/model.safetensors"
FEATURE_MAPS = ["data/h5/{size}/feature_map.json"]
if config["submission"]["refit"]:
    LAST_MODEL = "results/{size}/{model}/refit/model.safetensors"
    FEATURE_MAPS.append("data/h5/{size}/all_rows/feature_map.json")


def counted(path):
    """An input; the time of a raw file that has a version does not count."""
    return ancient(path) if RAW.has_version(path) else path


@clear_errors
def local(**raw):
    """Inputs: those raw files that are local."""
    inputs = {}
    for name, place in raw.items():
        if isinstance(place, TableLocation) and not place.is_remote:
            inputs[name] = [counted(str(file)) for file in place.files]
        elif isinstance(place, Location) and not place.is_remote:
            inputs[name] = counted(str(place))
    return inputs


def upstream(job):
    """The drawn rows and the feature maps of the size of a job or of a scoring.

    For rules that do not read them: Snakemake would not miss one whose step failed before a training.
    """
    return collect(["data/samples/{size}.json", *FEATURE_MAPS], size=job.size)


def warn_of_missing_draw():
    """Warn where results rest on a draw of rows that is gone, perhaps since its step failed.

    Snakemake looks at no params of a job whose inputs hang on a checkpoint that is missing.
    """
    for size in config["sizes"]:
        listing = f"data/samples/{size}.json"
        if Path(f"data/h5/{size}/feature_map.json").exists() and not Path(listing).exists():
            logger.warning(
                f"{listing} is missing: it was deleted, or its step failed. Metrics and plots of "
                f"size {size} that are there may be of other rows: ask for {listing}, too"
            )


def submitting(path):
    """Input function: the file of each model that submits for the job's size."""
    return clear_errors(
        lambda wildcards: collect(
            path, size=wildcards.size, model=submission_models(config, wildcards.size)
        )
    )


def listed(table, wildcards):
    """The parts of a raw table, which are known once `sample` or `list_parts` has run."""
    if table is RAW.test:
        parts = checkpoints.list_parts.get().output.parts
    else:
        check_job(config, COLUMNS, dict(wildcards.items()))
        parts = checkpoints.sample.get(size=wildcards.size).output.parts
    # `open` gets it from a default storage provider first, if there is one.
    with parts.open() as file:
        return read_parts(Path(file.name))


def part_names(table, wildcards):
    """The numbers of the parts, as file names have them."""
    return list(map(part_name, range(len(listed(table, wildcards).parts))))


def part_files(table, wildcards):
    """The raw files of the job's part."""
    return [piece.file for piece in listed(table, wildcards).parts[int(wildcards.part)].pieces]


def part_raw(table):
    """Inputs: the raw files of the job's part, if they are local; none without a table."""
    files = clear_errors(lambda wildcards: list(map(counted, part_files(table, wildcards))))
    return {} if table is None or table.is_remote else {"raw": files}


def parts_of(table, path):
    """Input function: the file of each part of a table."""
    return clear_errors(
        lambda wildcards: collect(
            path, **dict(wildcards.items()), part=part_names(table, wildcards)
        )
    )


train_parts = parts_of(RAW.train, "data/h5/{size}/train/part{part}.h5")
valid_parts = parts_of(RAW.train, "data/h5/{size}/valid/part{part}.h5")
test_parts = parts_of(RAW.test, "data/h5/test/part{part}.h5") if RAW.test else []


@clear_errors
def no_test(wildcards):
    """Input function: raises UserError, since there is no test table."""
    raise UserError(
        "raw.test is null, so there are no rows to predict: for a submission name the test file in "
        "raw.test; docs/scoring.md says how to score other files"
    )


@clear_errors
def part_predictions(wildcards):
    """One prediction file per model and part."""
    return collect(
        rules.predict.output.predictions,
        size=wildcards.size,
        model=submission_models(config, wildcards.size),
        part=part_names(RAW.test, wildcards),
    )


def plot(path, category, subcategory=None, caption=None):
    """A plot, with its place in the report."""
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


def targets():
    """The files that this call asks for; for a rule, such as `all`, its inputs."""
    settings = workflow.dag_settings
    # Jobs that Snakemake starts by name, on another host or by hand, ask for none.
    asked = settings.targets or {workflow.default_target} if not settings.target_jobs else ()
    files = []
    for target in asked:
        is_rule = workflow.is_rule(target)
        files += map(str, workflow.get_rule(target).input) if is_rule else [target]
    return files


@clear_errors
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


@clear_errors
def plot_data(wildcards):
    """The file from which a plot of one model alone is drawn; an error where its family has none."""
    folder, family = f"results/{wildcards.size}/{wildcards.name}", family_of(wildcards.name)
    if wildcards.plot == "importance":
        return f"{folder}/importance.json"
    if not family.has_learning_curves:
        raise UserError(f"{wildcards.name} has no learning curves; ask for those of a network")
    return f"{folder}/history.csv"


def scored(value):
    """Input function or setting: a `value` of the job's `Scoring`."""
    return clear_errors(lambda wildcards: value(scoring_of(config, COLUMNS, wildcards.scored)))


def scored_raw(scoring, column=COLUMNS.id):
    """The raw files that are local, which have the columns in use and this one."""
    paths = [path for file in scoring.files for path in local(file=file).get("file", [])]
    # Before Snakemake removes earlier scores.
    if workflow.is_main_process:
        for file in scoring.files:
            if not file.is_remote and not file.missing:
                RawTable(file, columns=COLUMNS).check_columns(COLUMNS, column)
    return paths


@clear_errors
def exported(wildcards):
    """The model to export, of a family that can be."""
    check_job(config, COLUMNS, dict(wildcards.items()))
    model = LAST_MODEL.format(**wildcards)
    if "export" not in family_of(wildcards.model).entry_points:
        raise UserError(
            f"{wildcards.model} is not a network, and only networks are exported to ONNX; "
            f"docs/serving.md says how to score rows with {model}"
        )
    return model
