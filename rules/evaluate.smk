# How good each model is on the validation rows, beside baselines, and all of them compared.


rule evaluate:
    input:
        model=rules.train.output.model,
        valid=rules.convert_train.output.valid,
    output:
        predictions="results/{size}/{model}/valid_predictions.parquet",
        speed="results/{size}/{model}/valid_speed.json",
        attention="results/{size}/{model}/attention.json",
    log:
        "results/{size}/{model}/evaluate.log",
    benchmark:
        "results/{size}/{model}/evaluate.benchmark.tsv"
    conda:
        "../envs/train.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        *code("evaluate"),
    message:
        "Predicting the validation rows, size {wildcards.size}, {wildcards.model}"
    script:
        "../scripts/evaluate.py"


rule ensemble:
    input:
        predictions=submitting(rules.evaluate.output.predictions),
    output:
        mixed="results/{size}/ensemble/valid_predictions.parquet",
        training="results/{size}/ensemble/training.json",
    log:
        "results/{size}/ensemble/ensemble.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("ensemble"),
        **settings(weights=weights_of_size),
    message:
        "Mixing the models of size {wildcards.size} that submit"
    script:
        "../scripts/ensemble.py"


rule fit_baseline:
    input:
        train=rules.convert_train.output.train,
        valid=rules.convert_train.output.valid,
        feature_map=rules.fit_feature_map.output.feature_map,
    output:
        predictions="results/{size}/{baseline}/valid_predictions.parquet",
        training="results/{size}/{baseline}/training.json",
    log:
        "results/{size}/{baseline}/fit_baseline.log",
    benchmark:
        "results/{size}/{baseline}/fit_baseline.benchmark.tsv"
    conda:
        "../envs/baseline.yaml"
    threads: 8
    params:
        *code("fit_baseline"),
        **settings(rows_at_most=config["evaluation"]["baseline_rows"]),
    message:
        "Fitting {wildcards.baseline} on size {wildcards.size}"
    script:
        "../scripts/fit_baseline.py"


rule measure:
    input:
        predictions="results/{size}/{name}/valid_predictions.parquet",
        valid=rules.convert_train.output.valid,
        truth="data/simulated/train_truth.parquet" if RAW.simulated else [],
    output:
        metrics="results/{size}/{name}/metrics.json",
    log:
        "results/{size}/{name}/measure.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("measure"),
        **settings(
            **{
                key: config["evaluation"][key]
                for key in ("bootstrap", "slices", "gauc")
            }
        ),
    message:
        "Measuring {wildcards.name} of size {wildcards.size} on the validation rows"
    script:
        "../scripts/measure.py"


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
        predictions=of_compared("{size}/{name}/valid_predictions.parquet"),
    output:
        comparison=report(
            "results/comparison.csv",
            caption="captions/comparison.rst",
            category="All models",
        ),
    log:
        "results/comparison.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("compare"),
        **settings(bootstrap=config["evaluation"]["bootstrap"]),
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
        summary="results/summary.md",
    log:
        "results/summary.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("summarize"),
        **settings(
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
