# One model per size, max_len and variant.
import shutil
from pathlib import Path


rule train:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
        followed=[],
        folds=[],
        start_from=start_from,
    output:
        model="results/{size}/{model}/model.safetensors",
        history="results/{size}/{model}/history.csv",
        training="results/{size}/{model}/training.json",
    log:
        "results/{size}/{model}/train.log",
    benchmark:
        "results/{size}/{model}/train.benchmark.tsv"
    conda:
        "../envs/train.yaml"
    threads: lambda wildcards: 8 * model_gpus(wildcards)
    resources:
        gpu=lambda wildcards: model_nodes(wildcards) * model_gpus(wildcards),
    params:
        *code("train"),
        **settings(**model_params(config), start_version=start_version),
        **not_counted(
            **{"train_config.gpus": model_gpus, "train_config.nodes": model_nodes}
        ),
    message:
        "Training FESeq on size {wildcards.size}, {wildcards.model}"
    script:
        "../scripts/train.py"


# With submission.refit, what submits.
use rule train as refit with:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map_to_all.output.feature_map,
        followed=rules.train.output.training,
        folds=[],
        start_from=start_from,
    output:
        model="results/{size}/{model}/refit/model.safetensors",
        history="results/{size}/{model}/refit/history.csv",
        training="results/{size}/{model}/refit/training.json",
    log:
        "results/{size}/{model}/refit/train.log",
    benchmark:
        "results/{size}/{model}/refit/train.benchmark.tsv"
    message:
        "Training FESeq again on all rows of size {wildcards.size}, {wildcards.model}"


# With sampling.folds, what predicts the rows of a fold.
use rule train as train_fold with:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
        followed=rules.train.output.training,
        folds=folds,
        start_from=start_from,
    output:
        model="results/{size}/{model}/fold{fold}/model.safetensors",
        history="results/{size}/{model}/fold{fold}/history.csv",
        training="results/{size}/{model}/fold{fold}/training.json",
    log:
        "results/{size}/{model}/fold{fold}/train.log",
    benchmark:
        "results/{size}/{model}/fold{fold}/train.benchmark.tsv"
    message:
        "Training FESeq for fold {wildcards.fold} of size {wildcards.size}, {wildcards.model}"


rule tune:
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
        # What is found is a variant of the size's own settings.
        model=r"len[1-9]\d*",
    conda:
        "../envs/tune.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        *code("tune"),
        **settings(
            **tuning_params(config, "model", "train"),
            # Also those that the model does not use, as the search may put them to use.
            **model_params(config, all_used=True),
        ),
    message:
        "Searching settings of {wildcards.model}, size {wildcards.size}"
    script:
        "../scripts/tune.py"


onsuccess:
    # Not before: a job that ended well runs again if Snakemake is killed with it.
    for states in ("*/*/training_state", "*/*/*/training_state"):
        for state in results().glob(states):
            if (state.parent / "model.safetensors").exists():
                shutil.rmtree(state, ignore_errors=True)
