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


rule compare:
    input:
        metrics=of_compared("{size}/{name}/metrics.json"),
        training=of_compared("{size}/{name}/training.json"),
    output:
        comparison="results/comparison.csv",
    log:
        "results/comparison.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("compare"),
    message:
        "Comparing all models trained so far"
    script:
        "../scripts/compare.py"
