# Predictions of the test table, part by part, and the submission.


rule predict:
    input:
        model=LAST_MODEL,
        h5=rules.convert_test.output.h5,
    output:
        predictions="results/{size}/{model}/predictions/part{part}.parquet",
    log:
        "results/{size}/{model}/predictions/part{part}.log",
    conda:
        model_env
    threads: 8
    resources:
        gpu=inference_gpus,
    params:
        code=code("predict"),
    message:
        "Predicting part {wildcards.part} of the test table, size {wildcards.size}, {wildcards.model}"
    script:
        "../scripts/predict.py"


rule submit:
    input:
        raw_files=local_files(RAW.sample_submission),
        parts=rules.list_parts.output.parts,
        predictions=parts_of(RAW.test, rules.predict.output.predictions),
        # Listed so that a dry run shows trainings before the parts are known.
        models=of_submission_models(LAST_MODEL),
        upstream=upstream,
        fitted=branch(size_weights, then=[], otherwise=rules.blend.output.weights),
        # Its alarms are logged. It is not `ancient`, which would hide other reasons to run this rule.
        facts=rules.describe.output.facts,
    output:
        submission="results/submission_{size}.csv",
        # The models, weights and prior of the submission.
        about="results/submission_{size}.json",
    log:
        "results/submission_{size}.log",
    conda:
        "../envs/data.yaml"
    params:
        **setting_params(
            id_column=COLUMNS.id,
            label_column=TABLE["columns"]["label"],
            weights=size_weights,
            dependencies=dependency_digest(
                *("list_parts", "convert_test", "predict", "describe"),
                jobs=lambda wildcards: [
                    (wildcards.size, name) for name in size_weights(wildcards) or [BLEND]
                ],
                test=True,
            ),
            **raw_params(sample_submission=RAW.sample_submission),
            prior=submission_prior(config),
        ),
        # Compared with the digest of the code that each file of predictions records.
        **untracked_params(codes=lambda wildcards: DIGESTS.prediction_code(wildcards.size)),
        code=code("submit"),
    message:
        "Writing the submission of size {wildcards.size}"
    script:
        "../scripts/submit.py"
