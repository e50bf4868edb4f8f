# Scores of further files: results/scores/{file}.parquet by the models that submit for size full,
# {size}/{file} for another size, {size}/{model}/{file} by one model.


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
            lambda files, size, models: sum(
                local(**{str(i): file for i, file in enumerate(files)}).values(), []
            )
        ),
    output:
        output="results/scores/{scored}.parquet",
    log:
        "results/scores/{scored}.log",
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
        *code("score"),
        **settings(
            input=scored(lambda files, size, models: list(map(str, files))),
            versions=scored(
                lambda files, size, models: list(map(file_version, files))
            ),
            # Their order, which the weights have too; Snakemake sorts inputs.
            models=scored(lambda files, size, models: models),
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
        "Scoring {wildcards.scored}"
    script:
        "../scripts/score.py"
