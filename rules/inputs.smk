# Inputs of rules, and plots as the report shows them.
import os
from pathlib import Path

from feseq.catalog.models import (
    check_job,
    compared_models,
    scored_files,
    submission_models,
    submission_weights,
)
from feseq.raw.location import Location, TableLocation, tables_of
from feseq.raw.parts import part_name, read_parts
from snakemake.exceptions import IncompleteCheckpointException
from snakemake.io import checkpoint_target

# Which training of a model predicts the test file.
LAST_FIT = "refit" if config["submission"]["refit"] else "train"


def results():
    """The folder of results, with the prefix of a workflow that imports this one, if any."""
    return Path(rules.submit.output.submission).parent


def named(path):
    """An input that a user has named."""
    if {"{", "}"} & set(path):
        raise UserError(
            f"{path}: Snakemake takes what stands between {{ and }} for a wildcard; rename the file "
            f"or folder and correct the config"
        )
    return path


def counted(path):
    """An input; the time of a raw file that has a version does not count."""
    return ancient(named(path)) if RAW.has_version(path) else path


@clear_errors
def local(**raw):
    """Inputs: those raw files that are local."""
    found = {}
    for name, place in raw.items():
        if isinstance(place, TableLocation) and not place.is_remote:
            found[name] = [counted(str(file)) for file in place.files]
        elif isinstance(place, Location) and not place.is_remote:
            found[name] = counted(str(place))
    return found


def output_of(rule, name, /, **wildcards):
    """An output of a rule by name."""
    return getattr(getattr(rules, rule).output, name).apply_wildcards(wildcards)


def submitting(rule, name):
    """Input function: that output of the rule for each model that submits for the job's size."""
    return clear_errors(
        lambda wildcards: [
            output_of(rule, name, size=wildcards.size, model=model)
            for model in submission_models(config, wildcards.size)
        ]
    )


@clear_errors
def start_from(wildcards):
    """The model that a training starts from; its time does not count where it has a version."""
    start = start_model(wildcards.size, wildcards.model)
    if start is None:
        return []
    path, version = start
    return ancient(named(path)) if version else named(path)


@clear_errors
def fitted_weights(wildcards):
    """The weights of the job's size, where they are fitted."""
    if submission_weights(config, wildcards.size) is not None:
        return []
    return output_of("blend", "weights", size=wildcards.size)


def listed(table, wildcards):
    """The parts of a raw table, which are known once `sample` or `list_parts` has run."""
    if table is RAW.test:
        parts = checkpoints.list_parts.get().output.parts
    else:
        check_job(config, COLUMNS, dict(wildcards.items()))
        try:
            parts = checkpoints.sample.get(size=wildcards.size).output.parts
        except IncompleteCheckpointException as incomplete:
            # Snakemake waits for the first output, and would not miss this one.
            parts = output_of("sample", "parts", size=wildcards.size)
            if not os.path.exists(parts):
                incomplete.targetfile = checkpoint_target(parts)
            raise
    # `open` gets it from a default storage provider first, if there is one.
    with parts.open() as file:
        return read_parts(Path(file.name))


def ignoring_time(file):
    """Input function: `file`, whose time does not count: a part reruns when its version changes.

    A copy, since `ancient` changes the object that it is given, for all rules.
    """
    return lambda wildcards: ancient(file.apply_wildcards(wildcards))


def part_names(table, wildcards):
    """The numbers of the parts, as file names have them."""
    return list(map(part_name, range(len(listed(table, wildcards).parts))))


def part_files(table, wildcards):
    """The raw files of the job's part."""
    part = listed(table, wildcards)[int(wildcards.part)]
    # The listing has the prefix of a workflow that imports this one, which Snakemake would repeat.
    files = map(str, table.files) if RAW.simulated else (p.file for p in part.pieces)
    return list(files)


def part_raw(table):
    """Inputs: the raw files of the job's part, if they are local; none without a table."""
    files = clear_errors(
        lambda wildcards: list(map(counted, part_files(table, wildcards)))
    )
    return {} if table is None or table.is_remote else {"raw": files}


def parts_of(table, rule, name):
    """Input function: an output of the rule by name, for each part of a table."""

    @clear_errors
    def files(wildcards):
        known, parts = dict(wildcards.items()), part_names(table, wildcards)
        return [output_of(rule, name, **known, part=part) for part in parts]

    return files


train_parts = parts_of(RAW.train, "convert_train", "train")
valid_parts = parts_of(RAW.train, "convert_train", "valid")
holdout_parts = (
    parts_of(RAW.train, "convert_train", "holdout")
    if config["sampling"]["holdout_share"]
    else []
)
# The rows that metrics are reported on.
reported_parts = holdout_parts or valid_parts
test_parts = parts_of(RAW.test, "convert_test", "h5") if RAW.test else []


# The submission of all rows; without a test table, the models that would submit.
submission_or_models = (
    "results/submission_full.csv"
    if RAW.test
    else [
        f"results/full/{model}/metrics.json"
        for model in submission_models(config, "full")
    ]
)


@clear_errors
def no_test(wildcards):
    """Input function: what is asked for needs a test table, and there is none."""
    raise UserError(
        "raw.test is null, so there are no rows to predict: for a submission name the test file in "
        "raw.test; docs/scoring.md tells how to score other files"
    )


@clear_errors
def part_predictions(wildcards):
    """One prediction file per model and part."""
    return [
        output_of("predict", "predictions", size=wildcards.size, model=model, part=part)
        for model in submission_models(config, wildcards.size)
        for part in part_names(RAW.test, wildcards)
    ]


def compared(file, among=lambda name: True):
    """Input function: `file` of each model in the comparison, or of some by name."""
    return lambda wildcards: [
        f"results/{size}/{name}/{file}"
        for size, name in compared_jobs(wildcards)
        if among(name)
    ]


def scored(function):
    """Input function or setting: `function` of the job's files, size and models."""

    @clear_errors
    def of_job(wildcards):
        *place, name = wildcards.scored.split("/")
        size, *one = place or ["full"]
        for model in one:
            check_job(config, COLUMNS, {"size": size, "model": model})
        files = tables_of(scored_files(config, name))
        return function(files, size, one or submission_models(config, size))

    return of_job


def scoring_weights(files, size, models):
    """The models' weights; None if they are fitted."""
    if len(models) == 1:
        return [1.0]
    weights = submission_weights(config, size)
    return weights and list(weights.values())


def of_pair(file, *which):
    """Input function: `file` of one or both of the two models that a job compares."""

    @clear_errors
    def paths(wildcards):
        if wildcards.one == wildcards.two:
            raise UserError(
                f"{wildcards.one}: is named twice; compare it with another model"
            )
        names = [getattr(wildcards, name) for name in which]
        found = [f"results/{wildcards.size}/{name}/{file}" for name in names]
        return found if len(found) > 1 else found[0]

    return paths


def targets():
    """What this call asks for, as files; of a rule, such as `all`, the files that it asks for."""
    settings = workflow.dag_settings
    # Jobs that Snakemake starts by name, on another host or by hand, ask for none.
    asked = (
        settings.targets or {workflow.default_target}
        if not settings.target_jobs
        else ()
    )
    files = []
    for target in asked:
        is_rule = workflow.is_rule(target)
        files += map(str, workflow.get_rule(target).input) if is_rule else [target]
    return files


@clear_errors
def compared_jobs(wildcards):
    """Size and name of each model in the comparison."""
    return compared_models(config, results(), map(os.path.relpath, targets()))


def compared_plots(wildcards):
    """The plots of each model in the comparison but the baselines."""
    made = []
    for size, name in compared_jobs(wildcards):
        job = {"size": size, "name": name}
        if name not in BASELINES:
            made += [plot.apply_wildcards(job) for plot in rules.plot_model.output]
        if is_model(name):
            own = family_of(name).plots(settings_of(size, name))
            made += [output_of("plot", "svg", **job, plot=plot) for plot in own]
    return made


def importance_plots(wildcards):
    """What the AUC of each model in the comparison that submits rests on."""
    return [
        output_of("plot", "svg", size=size, name=name, plot="importance")
        for size, name in compared_jobs(wildcards)
        if name in submission_models(config, size)
    ]


def compared_facts(wildcards):
    """What is known of the data of each size in the comparison."""
    sizes = dict(compared_jobs(wildcards))
    return [output_of("describe", "facts", size=size) for size in sizes]


def plot_data(wildcards):
    """The file from which a plot of one model alone is drawn."""
    files = {"learning_curves": "history.csv"}
    file = files.get(wildcards.plot, f"{wildcards.plot}.json")
    return f"results/{wildcards.size}/{wildcards.name}/{file}"


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


@clear_errors
def exported(wildcards):
    """The model to export, of a family that can be."""
    check_job(config, COLUMNS, dict(wildcards.items()))
    model = output_of(LAST_FIT, "model", **dict(wildcards.items()))
    if "export" not in family_of(wildcards.model).entry_points:
        raise UserError(
            f"{wildcards.model} is no network, and only networks are exported to ONNX; "
            f"docs/serving.md says how to score rows with {model}"
        )
    return model
