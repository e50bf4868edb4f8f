# Validation predictions, permutation importance, blend, baselines and metrics.


rule predict_valid:
    input:
        model=rules.train.output.model,
        # Not read; see `upstream` in inputs.smk.
        upstream=rules.fit_feature_map.output.feature_map,
        valid=valid_parts,
    output:
        predictions="results/{size}/{model}/valid_predictions.parquet",
    log:
        "results/{size}/{model}/predict_valid.log",
    conda:
        model_env
    threads: 8
    resources:
        gpu=inference_gpus,
    params:
        **setting_params(dependencies=dependency_digest()),
        code=code("predict_valid"),
    message:
        "Predicting the validation rows, size {wildcards.size}, {wildcards.model}"
    script:
        "../scripts/predict_valid.py"


rule importance:
    input:
        model=rules.train.output.model,
        upstream=rules.fit_feature_map.output.feature_map,
        valid=valid_parts,
    output:
        importance="results/{size}/{model}/importance.json",
    log:
        "results/{size}/{model}/importance.log",
    conda:
        model_env
    threads: 8
    resources:
        gpu=inference_gpus,
    params:
        **setting_params(dependencies=dependency_digest()),
        code=code("importance"),
    message:
        "Measuring the permutation importance of {wildcards.model}, size {wildcards.size}"
    script:
        "../scripts/importance.py"


rule blend:
    input:
        predictions=of_submission_models(rules.predict_valid.output.predictions),
    output:
        blend="results/{size}/blend/valid_predictions.parquet",
        weights="results/{size}/blend/weights.json",
        training="results/{size}/blend/training.json",
    log:
        "results/{size}/blend/blend.log",
    conda:
        "../envs/report.yaml"
    params:
        **setting_params(given=size_weights, by=table_score(config).metric),
        code=code("blend"),
    message:
        "Blending the submission models of size {wildcards.size}"
    script:
        "../scripts/blend.py"


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
        code=code("fit_baseline"),
    message:
        "Fitting {wildcards.baseline} on size {wildcards.size}"
    script:
        "../scripts/fit_baseline.py"


rule measure:
    input:
        predictions="results/{size}/{name}/valid_predictions.parquet",
        valid=valid_parts,
        truth=(
            rules.simulate.output.truth.apply_wildcards({"split": "train"})
            if RAW.is_simulated
            else []
        ),
    output:
        metrics="results/{size}/{name}/metrics.json",
    log:
        "results/{size}/{name}/measure.log",
    conda:
        "../envs/report.yaml"
    params:
        **setting_params(dependencies=dependency_digest("predict_valid")),
        code=code("measure"),
    message:
        "Measuring {wildcards.name} of size {wildcards.size} on the validation rows"
    script:
        "../scripts/measure.py"
