# One model per size and max_len, and how good it is.


rule train:
    input:
        train=rules.convert_train.output.train,
        valid=rules.convert_train.output.valid,
        feature_map=rules.fit_feature_map.output.feature_map,
    output:
        model="results/{size}/len{max_len}/model.pt",
        history="results/{size}/len{max_len}/history.csv",
        metrics="results/{size}/len{max_len}/metrics.json",
    log:
        "results/{size}/len{max_len}/train.log",
    benchmark:
        "results/{size}/len{max_len}/train.benchmark.tsv"
    conda:
        "../envs/train.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        *code("train"),
        **settings(**of_model()),
    message:
        "Training FESeq on size {wildcards.size} with max_len {wildcards.max_len}"
    script:
        "../scripts/train.py"


rule evaluate:
    input:
        model=rules.train.output.model,
        valid=rules.convert_train.output.valid,
    output:
        predictions="results/{size}/len{max_len}/valid_predictions.parquet",
    log:
        "results/{size}/len{max_len}/evaluate.log",
    benchmark:
        "results/{size}/len{max_len}/evaluate.benchmark.tsv"
    conda:
        "../envs/train.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        *code("evaluate"),
    message:
        "Predicting the validation rows, size {wildcards.size}, max_len {wildcards.max_len}"
    script:
        "../scripts/evaluate.py"


rule report:
    input:
        predictions=rules.evaluate.output.predictions,
        metrics=rules.train.output.metrics,
        truth="data/simulated/train_truth.parquet" if RAW.simulated else [],
    output:
        report="results/{size}/len{max_len}/report.md",
        evaluation="results/{size}/len{max_len}/evaluation.json",
    log:
        "results/{size}/len{max_len}/report.log",
    conda:
        "../envs/report.yaml"
    params:
        *code("report"),
    message:
        "Reporting on size {wildcards.size}, max_len {wildcards.max_len}"
    script:
        "../scripts/report.py"


onsuccess:
    # Not before: a job that ended well is done anew if Snakemake is killed with it.
    for state in Path("results").glob("*/len*/training_state"):
        if (state.parent / "model.pt").exists():
            shutil.rmtree(state, ignore_errors=True)
