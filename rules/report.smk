# All models compared. Its rules are local where their inputs depend on the models that are there,
# since another host may not see the same files.


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
        *code("report.comparison.write_comparison"),
        **settings(
            evaluation=config["evaluation"],
            upstream=upstream(compared_jobs),
        ),
    message:
        "Comparing the trained models"
    script:
        "../scripts/entry.py"


# Compares two models; needs no other model and no test file.
rule compare_two:
    input:
        first=of_pair("metrics.json", "one"),
        other=of_pair("metrics.json", "two"),
        predictions=of_pair("valid_predictions.parquet", "one", "two"),
        training=of_pair("training.json", "one", "two"),
    output:
        page="results/{size}/compare/{one}_vs_{two}.md",
    log:
        "results/{size}/compare/{one}_vs_{two}.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("report.comparison.write_two_models"),
        **settings(
            upstream=upstream(
                lambda wildcards: [
                    (wildcards.size, name) for name in (wildcards.one, wildcards.two)
                ]
            ),
        ),
    message:
        "Comparing {wildcards.one} with {wildcards.two} on size {wildcards.size}"
    script:
        "../scripts/entry.py"


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
        *code("report.summary.write_summary"),
        **settings(
            evaluation=config["evaluation"],
            upstream=upstream(compared_jobs),
            **config["submission"],
            split=config["sampling"]["split"],
            submitting={
                size: submission_models(config, size) for size in config["sizes"]
            },
            has_test=RAW.test is not None,
        ),
        **not_counted(options=CONFIG_OPTIONS),
    message:
        "Summing up all models"
    script:
        "../scripts/entry.py"
