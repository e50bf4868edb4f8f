# Plots of single models.


rule plot_model:
    input:
        predictions="results/{size}/{name}/valid_predictions.parquet",
        metrics=rules.measure.output.metrics,
    output:
        calibration=model_plot("calibration"),
        slices=model_plot("slices"),
    log:
        "results/{size}/{name}/plots/plot_model.log",
    conda:
        "../envs/report.yaml"
    params:
        **setting_params(dependencies=dependency_digest("predict_valid", "measure")),
        code=code("plot_model"),
    message:
        "Plotting calibration and slices of {wildcards.name}, size {wildcards.size}"
    script:
        "../scripts/plot_model.py"


# Plots that only some models have.
rule plot:
    input:
        data=plot_data,
        training="results/{size}/{name}/training.json",
    output:
        svg=model_plot("{plot}", caption="plot"),
    log:
        "results/{size}/{name}/plots/{plot}.log",
    conda:
        "../envs/report.yaml"
    params:
        **setting_params(dependencies=dependency_digest("importance")),
        code=code("plot"),
    message:
        "Plotting {wildcards.plot} of {wildcards.name}, size {wildcards.size}"
    script:
        "../scripts/plot.py"
