# Plots of single models.


rule plot_model:
    input:
        predictions="results/{size}/{name}/valid_predictions.parquet",
        metrics=rules.measure.output.metrics,
    output:
        roc_pr=model_plot("roc_pr"),
        calibration=model_plot("calibration"),
        slices=model_plot("slices"),
    log:
        "results/{size}/{name}/plots/plot_model.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("plot_model"),
    message:
        "Drawing {wildcards.name} of size {wildcards.size}"
    script:
        "../scripts/plot_model.py"


rule plot_importance:
    input:
        importance="results/{size}/{name}/importance.json",
    output:
        plot=model_plot("importance"),
    log:
        "results/{size}/{name}/plots/plot_importance.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("plot_importance"),
    message:
        "Drawing what the AUC of {wildcards.name} of size {wildcards.size} rests on"
    script:
        "../scripts/plot_importance.py"


# The plots of some families alone.
rule plot_learning_curves:
    input:
        history="results/{size}/{name}/history.csv",
        metrics=rules.measure.output.metrics,
    output:
        plot=model_plot("learning_curves"),
    log:
        "results/{size}/{name}/plots/plot_learning_curves.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("plot_learning_curves"),
    message:
        "Drawing the learning curves of {wildcards.name} of size {wildcards.size}"
    script:
        "../scripts/plot_learning_curves.py"


rule plot_attention:
    input:
        attention="results/{size}/{name}/attention.json",
        training="results/{size}/{name}/training.json",
    output:
        plot=model_plot("attention"),
    log:
        "results/{size}/{name}/plots/plot_attention.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("plot_attention"),
    message:
        "Drawing what {wildcards.name} of size {wildcards.size} looks at"
    script:
        "../scripts/plot_attention.py"
