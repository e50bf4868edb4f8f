# One model per size, max_len and variant.
import shutil
from pathlib import Path


rule train:
    input:
        train=rules.convert_train.output.train,
        valid=rules.convert_train.output.valid,
        feature_map=rules.fit_feature_map.output.feature_map,
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
    threads: lambda wildcards: 8 * gpus_of_model(wildcards)
    resources:
        gpu=gpus_of_model,
    params:
        *code("train"),
        **settings(**of_model()),
        gpus=not_counted("gpus", gpus_of_model),
    message:
        "Training FESeq on size {wildcards.size}, {wildcards.model}"
    script:
        "../scripts/train.py"


rule tune:
    input:
        train=rules.convert_train.output.train,
        valid=rules.convert_train.output.valid,
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
            **{f"tuning.{key}": value for key, value in config["tuning"].items()},
            **of_model(),
        ),
    message:
        "Searching settings of {wildcards.model}, size {wildcards.size}"
    script:
        "../scripts/tune.py"


onsuccess:
    # Not before: a job that ended well is done anew if Snakemake is killed with it.
    for state in Path("results").glob("*/*/training_state"):
        if (state.parent / "model.safetensors").exists():
            shutil.rmtree(state, ignore_errors=True)
