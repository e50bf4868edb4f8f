# A comparison of all models. Rules whose inputs depend on existing models are local, since other
# hosts may not see the same files.


rule compare:
    input:
        metrics=compared("results/{size}/{name}/metrics.json"),
        training=compared("results/{size}/{name}/training.json"),
        predictions=compared("results/{size}/{name}/valid_predictions.parquet"),
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
        **setting_params(
            metric=table_score(config).metric,
            dependencies=dependency_digest("predict_valid", "measure", jobs=compared_jobs),
        ),
        code=code("compare"),
    message:
        "Comparing the trained models"
    script:
        "../scripts/compare.py"


rule summarize:
    input:
        comparison=rules.compare.output.comparison,
        importances=compared(
            "results/{size}/{name}/plots/importance.svg",
            lambda size, name: name in submission_models(config, size),
        ),
        facts=lambda wildcards: collect(
            "results/{size}/data.json", size=dict(compared_jobs(wildcards))
        ),
        # For Snakemake's report, not for the page.
        model_plots=compared(rules.plot_model.output, lambda _, name: name not in BASELINES),
        learning_curves=compared(
            "results/{size}/{name}/plots/learning_curves.svg",
            lambda _, name: is_model(name) and kind_of(name).has_learning_curves,
        ),
    output:
        summary="results/summary.md",
        plot=plot("results/plots/models.svg", "All models"),
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
        **setting_params(
            dependencies=dependency_digest(
                *("predict_valid", "measure", "compare", "importance", "describe"),
                jobs=compared_jobs,
            ),
            refit=config["submission"]["refit"],
            split={key: sampling_of(config)[key] for key in ("time", "group")},
            submitting={size: submission_models(config, size) for size in config["sizes"]},
            label=COLUMNS.label,
            has_test=RAW.test is not None,
        ),
        code=code("summarize"),
    message:
        "Summarizing all models"
    script:
        "../scripts/summarize.py"
