# Gradient boosting, the other family of models: its training, and predictions in the same places.
from snakemake.settings.types import DeploymentMethod

from feseq.boosting.build import gpus_of_a_training

BOOSTING_GPUS = gpus_of_a_training(
    config["runtime"]["device"],
    DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method,
)


rule train_boosting:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
        followed=[],
        folds=[],
    output:
        model="results/{size}/{model}/model.ubj",
        history="results/{size}/{model}/history.csv",
        training="results/{size}/{model}/training.json",
    log:
        "results/{size}/{model}/train.log",
    benchmark:
        "results/{size}/{model}/train.benchmark.tsv"
    wildcard_constraints:
        model=BOOSTING,
    conda:
        "../envs/boosting.yaml"
    threads: 8
    resources:
        gpu=BOOSTING_GPUS,
    params:
        *code("train_boosting"),
        **settings(**boosting_params(config)),
    message:
        "Training {wildcards.model} on size {wildcards.size}"
    script:
        "../scripts/train_boosting.py"


use rule train_boosting as refit_boosting with:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map_to_all.output.feature_map,
        followed=rules.train_boosting.output.training,
        folds=[],
    output:
        model="results/{size}/{model}/refit/model.ubj",
        history="results/{size}/{model}/refit/history.csv",
        training="results/{size}/{model}/refit/training.json",
    log:
        "results/{size}/{model}/refit/train.log",
    benchmark:
        "results/{size}/{model}/refit/train.benchmark.tsv"
    message:
        "Training {wildcards.model} again on all rows of size {wildcards.size}"


use rule train_boosting as train_fold_boosting with:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
        followed=rules.train_boosting.output.training,
        folds=folds,
    output:
        model="results/{size}/{model}/fold{fold}/model.ubj",
        history="results/{size}/{model}/fold{fold}/history.csv",
        training="results/{size}/{model}/fold{fold}/training.json",
    log:
        "results/{size}/{model}/fold{fold}/train.log",
    benchmark:
        "results/{size}/{model}/fold{fold}/train.benchmark.tsv"
    message:
        "Training {wildcards.model} for fold {wildcards.fold} of size {wildcards.size}"


rule evaluate_boosting:
    input:
        model=rules.train_boosting.output.model,
        valid=valid_parts,
        folds=[],
    output:
        predictions="results/{size}/{model}/valid_predictions.parquet",
        speed="results/{size}/{model}/valid_speed.json",
    log:
        "results/{size}/{model}/evaluate.log",
    benchmark:
        "results/{size}/{model}/evaluate.benchmark.tsv"
    wildcard_constraints:
        model=BOOSTING,
    conda:
        "../envs/boosting.yaml"
    threads: 8
    params:
        *code("evaluate_boosting"),
    message:
        "Predicting the validation rows, size {wildcards.size}, {wildcards.model}"
    script:
        "../scripts/evaluate_boosting.py"


use rule evaluate_boosting as evaluate_fold_boosting with:
    input:
        model=rules.train_fold_boosting.output.model,
        valid=train_parts,
        folds=folds,
    output:
        predictions="results/{size}/{model}/fold{fold}/predictions.parquet",
        speed="results/{size}/{model}/fold{fold}/speed.json",
    log:
        "results/{size}/{model}/fold{fold}/evaluate.log",
    benchmark:
        "results/{size}/{model}/fold{fold}/evaluate.benchmark.tsv"
    message:
        "Predicting fold {wildcards.fold} of size {wildcards.size}, {wildcards.model}"


rule importance_boosting:
    input:
        model=rules.train_boosting.output.model,
        valid=valid_parts,
    output:
        importance="results/{size}/{model}/importance.json",
    log:
        "results/{size}/{model}/importance.log",
    benchmark:
        "results/{size}/{model}/importance.benchmark.tsv"
    wildcard_constraints:
        model=BOOSTING,
    conda:
        "../envs/boosting.yaml"
    threads: 8
    params:
        *code("importance_boosting"),
    message:
        "Measuring what the AUC of {wildcards.model} rests on, size {wildcards.size}"
    script:
        "../scripts/importance_boosting.py"


rule tune_boosting:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
    output:
        # A variant, for --configfile.
        best="results/{size}/tuning/{model}/best.yaml",
        trials="results/{size}/tuning/{model}/trials.csv",
    log:
        "results/{size}/tuning/{model}/tune.log",
    benchmark:
        "results/{size}/tuning/{model}/tune.benchmark.tsv"
    wildcard_constraints:
        model=BOOSTING,
    conda:
        "../envs/tune.yaml"
    threads: 8
    resources:
        gpu=BOOSTING_GPUS,
    params:
        *code("tune_boosting"),
        **settings(
            **tuning_params(config, "boosting"),
            **boosting_params(config),
            variant=variant_of_boosting(config),
        ),
    message:
        "Searching settings of {wildcards.model}, size {wildcards.size}"
    script:
        "../scripts/tune_boosting.py"


rule predict_boosting:
    input:
        model=getattr(rules, rule_of(LAST_FIT, "boosting")).output.model,
        h5=rules.convert_test.output.h5,
    output:
        predictions="results/{size}/{model}/predictions/part{part}.parquet",
    log:
        "results/{size}/{model}/predictions/part{part}.log",
    benchmark:
        "results/{size}/{model}/predictions/part{part}.benchmark.tsv"
    wildcard_constraints:
        model=BOOSTING,
    conda:
        "../envs/boosting.yaml"
    threads: 8
    params:
        *code("predict_boosting"),
    message:
        "Predicting part {wildcards.part} of the test table, size {wildcards.size}, {wildcards.model}"
    script:
        "../scripts/predict_boosting.py"
