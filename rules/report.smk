# All models compared, drawn and summed up.
from pathlib import Path

from feseq.staleness.upstream import steps_of_comparison, steps_of_summary


# What they take depends on the models that are there, which a job elsewhere could see otherwise.
localrules:
    compare,
    summarize,


rule plot_model:
    input:
        predictions=rules.evaluate.output.predictions,
        metrics="results/{size}/{model}/metrics.json",
        history=rules.train.output.history,
    output:
        learning_curves=of_report("results/{size}/{model}/figures/learning_curves.svg"),
        roc_pr=of_report("results/{size}/{model}/figures/roc_pr.svg"),
        calibration=of_report("results/{size}/{model}/figures/calibration.svg"),
        slices=of_report("results/{size}/{model}/figures/slices.svg"),
    log:
        "results/{size}/{model}/figures/plot_model.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("plot_model"),
    message:
        "Drawing {wildcards.model} of size {wildcards.size}"
    script:
        "../scripts/plot_model.py"


# The same without the curves of a training.
use rule plot_model as plot_other with:
    input:
        predictions="results/{size}/{other}/valid_predictions.parquet",
        metrics="results/{size}/{other}/metrics.json",
        history=[],
    output:
        learning_curves=[],
        roc_pr=of_report("results/{size}/{other}/figures/roc_pr.svg"),
        calibration=of_report("results/{size}/{other}/figures/calibration.svg"),
        slices=of_report("results/{size}/{other}/figures/slices.svg"),
    log:
        "results/{size}/{other}/figures/plot_model.log",
    message:
        "Drawing {wildcards.other} of size {wildcards.size}"


rule plot_attention:
    input:
        attention=rules.evaluate.output.attention,
        training=rules.train.output.training,
    output:
        figure=of_report("results/{size}/{model}/figures/attention.svg"),
    log:
        "results/{size}/{model}/figures/plot_attention.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("plot_attention"),
    message:
        "Drawing what {wildcards.model} of size {wildcards.size} looks at"
    script:
        "../scripts/plot_attention.py"


rule compare:
    input:
        metrics=of_compared("{size}/{name}/metrics.json"),
        training=of_compared("{size}/{name}/training.json"),
        speed=of_compared("{size}/{name}/valid_speed.json", among=is_feseq),
        predictions=of_compared("{size}/{name}/valid_predictions.parquet"),
    output:
        comparison=report(
            "results/comparison.csv",
            caption="captions/comparison.rst",
            category="All models",
            labels={"figure": "table of all models"},
        ),
    log:
        "results/comparison.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("compare"),
        **settings(
            bootstrap=config["evaluation"]["bootstrap"],
            upstream=upstream(
                lambda _: steps_of_comparison(config, Path("results"), RAW.simulated)
            ),
        ),
    message:
        "Comparing all models trained so far"
    script:
        "../scripts/compare.py"


rule plot_comparison:
    input:
        comparison=rules.compare.output.comparison,
    output:
        aucs=of_report("results/figures/aucs.svg"),
        by_max_len=of_report("results/figures/by_max_len.svg"),
        speed=of_report("results/figures/speed.svg"),
    log:
        "results/figures/plot_comparison.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("plot_comparison"),
    message:
        "Drawing all models side by side"
    script:
        "../scripts/plot_comparison.py"


rule summarize:
    input:
        comparison=rules.compare.output.comparison,
        figures=rules.plot_comparison.output,
        # Not on the page, but in the report made of it.
        of_models=figures_of_compared,
    output:
        summary=report(
            "results/summary.md",
            caption="captions/summary.rst",
            category="All models",
            labels={"figure": "summary"},
        ),
    log:
        "results/summary.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("summarize"),
        **settings(
            upstream=upstream(lambda _: steps_of_summary(config, Path("results"))),
            prior=config["submission"]["prior"],
            submitting={
                size: submission_weights(config, size)
                for size in config["evaluation"]["sizes"]
            },
        ),
    message:
        "Summing up all models"
    script:
        "../scripts/summarize.py"
