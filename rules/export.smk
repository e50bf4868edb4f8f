# Trained networks for serving.


@clear_errors
def exported(wildcards):
    """The model to export, of a family that can be."""
    check_job(config, COLUMNS, dict(wildcards.items()))
    model = output_of(LAST_FIT, "model", **dict(wildcards.items()))
    if "export" not in family_of(wildcards.model).entry_points:
        raise UserError(
            f"{wildcards.model} is not a network, and only networks are exported to ONNX; "
            f"docs/serving.md says how to score rows with {model}"
        )
    return model


rule export:
    input:
        model=exported,
        valid=valid_parts,
    output:
        onnx="results/{size}/{model}/model.onnx",
    log:
        "results/{size}/{model}/export.log",
    conda:
        "../envs/export.yaml"
    params:
        **settings(
            dependencies=dependency_digest(lambda wildcards: [(wildcards.size, wildcards.model)]),
        ),
        code=code("export"),
    message:
        "Exporting {wildcards.model} of size {wildcards.size} to ONNX"
    script:
        "../scripts/export.py"
