# Figures of single models.


rule plot_model:
    input:
        predictions=rules.evaluate.output.predictions,
        metrics="results/{size}/{model}/metrics.json",
        history=rules.train.output.history,
    output:
        learning_curves=model_figure("learning_curves"),
        roc_pr=model_figure("roc_pr"),
        calibration=model_figure("calibration"),
        slices=model_figure("slices"),
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
        roc_pr=model_figure("roc_pr", model="{other}"),
        calibration=model_figure("calibration", model="{other}"),
        slices=model_figure("slices", model="{other}"),
    log:
        "results/{size}/{other}/figures/plot_model.log",
    message:
        "Drawing {wildcards.other} of size {wildcards.size}"


rule plot_attention:
    input:
        attention=rules.evaluate.output.attention,
        training=rules.train.output.training,
    output:
        figure=model_figure("attention"),
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


rule plot_importance:
    input:
        importance="results/{size}/{name}/importance.json",
    output:
        figure=model_figure("importance", model="{name}"),
    log:
        "results/{size}/{name}/figures/plot_importance.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("plot_importance"),
    message:
        "Drawing what the AUC of {wildcards.name} of size {wildcards.size} rests on"
    script:
        "../scripts/plot_importance.py"
