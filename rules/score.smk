# Scores of further files: results/scores/{file}.parquet by the models that submit for size full,
# {size}/{file} for another size, {size}/{model}/{file} by one model.


rule score:
    input:
        model=scored(scoring_models),
        upstream=scored(upstream),
        fitted=scored(scoring_weights),
        raw=scored(scored_raw),
    output:
        output="results/scores/{scored}.parquet",
    log:
        "results/scores/{scored}.log",
    conda:
        "../envs/score.yaml"
    threads: 8
    resources:
        gpu=scored(lambda scoring: max(family_of(name).inference_gpus for name in scoring.models)),
    params:
        **settings(
            input=scored(lambda scoring: list(map(str, scoring.files))),
            versions=scored(lambda scoring: list(map(file_version, scoring.files))),
            # Their order, which the weights have too; Snakemake sorts inputs.
            models=scored(lambda scoring: scoring.models),
            weights=scored(lambda scoring: scoring.weights),
            id_column=TABLE["columns"]["id"],
            row_time=COLUMNS.row_time,
            delimiter=TABLE["raw"]["delimiter"],
            part_rows=config["parts"]["rows"],
            prior=config["submission"]["prior"] or "observed",
            dependencies=dependency_digest(scored(lambda scoring: scoring.jobs), "score"),
        ),
        code=f"code {DIGESTS.code('score')}",
    message:
        "Scoring {wildcards.scored}"
    script:
        "../scripts/score.py"
