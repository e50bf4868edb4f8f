# How good each model is on the validation rows, and baselines beside it.
from feseq.staleness.upstream import fold_steps


rule evaluate:
    input:
        model=rules.train.output.model,
        valid=valid_parts,
        folds=[],
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


use rule evaluate as evaluate_fold with:
    input:
        model=rules.train_fold.output.model,
        valid=train_parts,
        folds=folds,
    output:
        predictions="results/{size}/{model}/fold{fold}/predictions.parquet",
        speed="results/{size}/{model}/fold{fold}/speed.json",
        attention="results/{size}/{model}/fold{fold}/attention.json",
    log:
        "results/{size}/{model}/fold{fold}/evaluate.log",
    benchmark:
        "results/{size}/{model}/fold{fold}/evaluate.benchmark.tsv"
    message:
        "Predicting fold {wildcards.fold} of size {wildcards.size}, {wildcards.model}"


rule importance:
    input:
        model=rules.train.output.model,
        valid=valid_parts,
    output:
        importance="results/{size}/{model}/importance.json",
    log:
        "results/{size}/{model}/importance.log",
    benchmark:
        "results/{size}/{model}/importance.benchmark.tsv"
    conda:
        "../envs/train.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        *code("importance"),
    message:
        "Measuring what the AUC of {wildcards.model} rests on, size {wildcards.size}"
    script:
        "../scripts/importance.py"


rule join_folds:
    input:
        folds=folds,
        predictions=fold_predictions,
    output:
        out_of_fold="results/{size}/{name}/oof_predictions.parquet",
    log:
        "results/{size}/{name}/join_folds.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("join_folds"),
        **settings(
            upstream=upstream(
                lambda wildcards: fold_steps(
                    wildcards.size,
                    wildcards.name,
                    config["sampling"]["folds"] or 0,
                    RAW.simulated,
                )
            ),
        ),
    message:
        "Joining the folds of {wildcards.name}, size {wildcards.size}"
    script:
        "../scripts/join_folds.py"


rule ensemble:
    input:
        predictions=submitting("evaluate", "predictions"),
    output:
        mixed="results/{size}/ensemble/valid_predictions.parquet",
        weights="results/{size}/ensemble/weights.json",
        training="results/{size}/ensemble/training.json",
    log:
        "results/{size}/ensemble/ensemble.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("ensemble"),
        **settings(
            given=size_weights,
            by=config["submission"]["weights_by"],
            prior=config["submission"]["prior"],
        ),
    message:
        "Mixing the models of size {wildcards.size} that submit"
    script:
        "../scripts/ensemble.py"


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
    benchmark:
        "results/{size}/{baseline}/fit_baseline.benchmark.tsv"
    conda:
        "../envs/baseline.yaml"
    threads: 8
    params:
        *code("fit_baseline"),
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
            if RAW.simulated
            else []
        ),
        folds=[],
    output:
        metrics="results/{size}/{name}/metrics.json",
    log:
        "results/{size}/{name}/measure.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("measure"),
        **settings(**{key: config["evaluation"][key] for key in ("bootstrap", "gauc")}),
    message:
        "Measuring {wildcards.name} of size {wildcards.size} on the validation rows"
    script:
        "../scripts/measure.py"


use rule measure as measure_folds with:
    input:
        predictions=rules.join_folds.output.out_of_fold,
        valid=train_parts,
        truth=(
            rules.simulate.output.truth.apply_wildcards({"split": "train"})
            if RAW.simulated
            else []
        ),
        folds=folds,
    output:
        metrics="results/{size}/{name}/oof_metrics.json",
    log:
        "results/{size}/{name}/measure_folds.log",
    message:
        "Measuring {wildcards.name} of size {wildcards.size} on the rows out of fold"
