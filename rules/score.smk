# Scores of further files, by the models that submit for a size, or by one model.


rule score:
    input:
        model=scored(
            lambda files, size, models: [
                output_of(LAST_FIT, "model", size=size, model=model)
                for model in models
            ]
        ),
        fitted=scored(
            lambda files, size, models: (
                output_of("blend", "weights", size=size)
                if scoring_weights(files, size, models) is None
                else []
            )
        ),
        raw=scored(
            lambda files, size, models: [
                path
                for paths in local(
                    **{str(i): file for i, file in enumerate(files)}
                ).values()
                for path in paths
            ]
        ),
    output:
        output="results/scores/{name}.parquet",
    log:
        "results/scores/{name}.log",
    benchmark:
        "results/scores/{name}.benchmark.tsv"
    conda:
        "../envs/score.yaml"
    threads: 8
    resources:
        gpu=scored(
            lambda files, size, models: max(
                family_of(model).inference_gpus for model in models
            )
        ),
    params:
        *code("predict.scoring.score_files"),
        **settings(
            input=scored(lambda files, size, models: list(map(str, files))),
            versions=scored(
                lambda files, size, models: list(map(file_version, files))
            ),
            id_column=config["columns"]["id"],
            row_time=COLUMNS.row_time,
            part_rows=config["parts"]["rows"],
            weights=scored(scoring_weights),
            upstream=upstream(
                scored(
                    lambda files, size, models: [(size, model) for model in models]
                ),
                "report",
            ),
            prior=config["submission"]["prior"],
        ),
    message:
        "Scoring {wildcards.name}"
    script:
        "../scripts/score.py"


use rule score as score_by_size with:
    output:
        output="results/scores/{size}/{name}.parquet",
    log:
        "results/scores/{size}/{name}.log",
    benchmark:
        "results/scores/{size}/{name}.benchmark.tsv"
    message:
        "Scoring {wildcards.name} by the models of size {wildcards.size}"


use rule score as score_by_model with:
    output:
        output="results/scores/{size}/{model}/{name}.parquet",
    log:
        "results/scores/{size}/{model}/{name}.log",
    benchmark:
        "results/scores/{size}/{model}/{name}.benchmark.tsv"
    message:
        "Scoring {wildcards.name} by {wildcards.model} of size {wildcards.size}"
