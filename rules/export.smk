# Export of trained networks for serving.


rule export:
    input:
        model=LAST_MODEL,
        valid=valid_parts,
    output:
        onnx="results/{size}/{model}/model.onnx",
    log:
        "results/{size}/{model}/export.log",
    conda:
        "../envs/export.yaml"
    params:
        **setting_params(dependencies=dependency_digest()),
        code=code("export"),
    message:
        "Exporting {wildcards.model} of size {wildcards.size} to ONNX"
    script:
        "../scripts/export.py"
