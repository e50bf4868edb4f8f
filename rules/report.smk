# All models compared. Its rules are local where their inputs depend on the models that are there,
# since another host may not see the same files.

from feseq.catalog.models import compared_models


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
    return compared_models(config, results(), map(os.path.relpath, targets()))


def compared_plots(wildcards):
    """The plots of each model in the comparison but the baselines."""
    plots = []
    for size, name in compared_jobs(wildcards):
        job = {"size": size, "name": name}
        if name not in BASELINES:
            plots += [plot.apply_wildcards(job) for plot in rules.plot_model.output]
        if is_model(name):
            names = family_of(name).plots(settings_of(size, name))
            plots += [output_of("plot", "svg", **job, plot=each) for each in names]
    return plots


def importance_plots(wildcards):
    """The importance plots of the models in the comparison that submit."""
    return [
        output_of("plot", "svg", size=size, name=name, plot="importance")
        for size, name in compared_jobs(wildcards)
        if name in submission_models(config, size)
    ]


def compared_facts(wildcards):
    """The facts of the data of each size in the comparison."""
    sizes = dict(compared_jobs(wildcards))
    return [output_of("describe", "facts", size=size) for size in sizes]


def compared(file, among=lambda name: True):
    """Input function: `file` of each model in the comparison, or of some by name."""
    return lambda wildcards: [
        f"results/{size}/{name}/{file}" for size, name in compared_jobs(wildcards) if among(name)
    ]


def pair_files(file, *which):
    """Input function: `file` of one or both of the two models that a job compares."""

    @clear_errors
    def paths(wildcards):
        if wildcards.one == wildcards.two:
            raise UserError(f"{wildcards.one}: is named twice; compare it with another model")
        names = [getattr(wildcards, name) for name in which]
        files = [f"results/{wildcards.size}/{name}/{file}" for name in names]
        return files if len(files) > 1 else files[0]

    return paths


rule compare:
    input:
        metrics=compared("metrics.json"),
        training=compared("training.json"),
        speed=compared("valid_speed.json", among=is_model),
        predictions=compared("valid_predictions.parquet"),
    output:
        comparison=report(
            "results/comparison.csv",
            caption="captions/comparison.rst",
            category="All models",
            labels={"plot": "table of all models"},
        ),
    log:
        "results/comparison.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        **settings(
            evaluation=config["evaluation"],
            dependencies=dependency_digest(compared_jobs, "evaluate", "measure"),
        ),
        code=code("compare"),
    message:
        "Comparing the trained models"
    script:
        "../scripts/compare.py"


# Compares two models; needs no other model and no test file.
rule compare_two:
    input:
        first=pair_files("metrics.json", "one"),
        other=pair_files("metrics.json", "two"),
        predictions=pair_files("valid_predictions.parquet", "one", "two"),
        training=pair_files("training.json", "one", "two"),
    output:
        page="results/{size}/compare/{one}_vs_{two}.md",
    log:
        "results/{size}/compare/{one}_vs_{two}.log",
    conda:
        "../envs/report.yaml"
    params:
        **settings(
            dependencies=dependency_digest(
                lambda wildcards: [
                    (wildcards.size, name) for name in (wildcards.one, wildcards.two)
                ],
                *("evaluate", "measure"),
            ),
        ),
        code=code("compare_two"),
    message:
        "Comparing {wildcards.one} with {wildcards.two} on size {wildcards.size}"
    script:
        "../scripts/compare_two.py"


rule summarize:
    input:
        comparison=rules.compare.output.comparison,
        importances=importance_plots,
        facts=compared_facts,
        # Not on the page, but in Snakemake's report.
        model_plots=compared_plots,
    output:
        summary="results/summary.md",
        aucs=plot("results/plots/aucs.svg", "All models"),
        view=report(
            "results/summary.html",
            caption="captions/summary.rst",
            category="All models",
            labels={"plot": "summary"},
        ),
    log:
        "results/summary.log",
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        **settings(
            evaluation=config["evaluation"],
            dependencies=dependency_digest(
                compared_jobs,
                *("evaluate", "measure", "compare", "importance", "describe"),
            ),
            **config["submission"],
            split=config["sampling"]["split"],
            submitting={size: submission_models(config, size) for size in config["sizes"]},
            has_test=RAW.test is not None,
        ),
        **not_counted(options=CONFIG_OPTIONS),
        code=code("summarize"),
    message:
        "Summing up all models"
    script:
        "../scripts/summarize.py"
