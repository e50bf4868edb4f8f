# Scores of further files: results/scores/{name}.parquet from the submission models of size full,
# {size}/{name} from another size, {size}/{model}/{name} from one model.


rule score:
    input:
        model=scored(lambda scoring: collect(LAST_MODEL, size=scoring.size, model=scoring.models)),
        upstream=scored(upstream),
        fitted=scored(
            lambda scoring: [] if scoring.weights else f"results/{scoring.size}/blend/weights.json"
        ),
        raw_files=scored(scored_files),
    output:
        output="results/scores/{scored}.parquet",
    log:
        "results/scores/{scored}.log",
    conda:
        "../envs/score.yaml"
    threads: 8
    resources:
        gpu=scored(
            lambda scoring: USES_GPUS
            * max(kind_of(name).inference_gpus for name in scoring.models)
        ),
    params:
        **scored_params(),
        **setting_params(
            # The models in the order of the weights; Snakemake sorts inputs.
            models=scored(lambda scoring: scoring.models),
            weights=scored(lambda scoring: scoring.weights),
            id_column=COLUMNS.id,
            part_rows=config["parts"]["rows"],
            prior=config["submission"]["prior"] or "observed",
        ),
        code=code("score"),
    message:
        "Scoring {wildcards.scored}"
    script:
        "../scripts/score.py"


rule measure_scores:
    input:
        scores=rules.score.output.output,
        raw_files=scored(lambda scoring: scored_files(scoring, COLUMNS.label)),
    output:
        metrics="results/scores/{scored}.metrics.json",
    log:
        "results/scores/{scored}.metrics.log",
    conda:
        "../envs/report.yaml"
    threads: 2
    params:
        **scored_params(),
        **column_params("label", "id"),
        code=code("measure_scores"),
    message:
        "Measuring the scores of {wildcards.scored}"
    script:
        "../scripts/measure_scores.py"
