# Metrics of each model on the validation rows, and baselines.


rule evaluate:
    input:
        model=rules.train.output.model,
        valid=valid_parts,
    output:
        predictions="results/{size}/{model}/valid_predictions.parquet",
        speed="results/{size}/{model}/valid_speed.json",
    log:
        "results/{size}/{model}/evaluate.log",
    conda:
        model_env
    threads: 8
    resources:
        gpu=inference_gpus,
    params:
        *code("evaluate.validation.predict_validation", "load"),
    message:
        "Predicting the validation rows, size {wildcards.size}, {wildcards.model}"
    script:
        "../scripts/entry.py"


use rule evaluate as importance with:
    output:
        importance="results/{size}/{model}/importance.json",
    log:
        "results/{size}/{model}/importance.log",
    params:
        *code("evaluate.importance.measure_importance", "load", "importance"),
    message:
        "Measuring what the AUC of {wildcards.model} rests on, size {wildcards.size}"


use rule evaluate as attention with:
    output:
        attention="results/{size}/{model}/attention.json",
    log:
        "results/{size}/{model}/attention.log",
    params:
        *code("evaluate.importance.measure_attention", "load", "attention"),
    message:
        "Measuring what {wildcards.model} of size {wildcards.size} looks at"


rule blend:
    input:
        predictions=submitting("evaluate", "predictions"),
    output:
        blend="results/{size}/blend/valid_predictions.parquet",
        weights="results/{size}/blend/weights.json",
        training="results/{size}/blend/training.json",
    log:
        "results/{size}/blend/blend.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("evaluate.blend.blend_predictions"),
        **settings(
            given=size_weights,
            by=config["submission"]["weights_by"],
            prior=config["submission"]["prior"],
        ),
    message:
        "Blending the models of size {wildcards.size} that submit"
    script:
        "../scripts/entry.py"


rule fit_baseline:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
    output:
        predictions="results/{size}/{baseline}/valid_predictions.parquet",
        training="results/{size}/{baseline}/training.json",
    log:
        "results/{size}/{baseline}/fit_baseline.log",
    conda:
        "../envs/baseline.yaml"
    threads: 8
    params:
        *code("evaluate.baselines.fit_baseline"),
    message:
        "Fitting {wildcards.baseline} on size {wildcards.size}"
    script:
        "../scripts/entry.py"


rule measure:
    input:
        predictions="results/{size}/{name}/valid_predictions.parquet",
        valid=valid_parts,
        truth=(
            rules.simulate.output.truth.apply_wildcards({"split": "train"})
            if RAW.simulated
            else []
        ),
    output:
        metrics="results/{size}/{name}/metrics.json",
    log:
        "results/{size}/{name}/measure.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("evaluate.measure.write_metrics"),
    message:
        "Measuring {wildcards.name} of size {wildcards.size} on the validation rows"
    script:
        "../scripts/entry.py"
