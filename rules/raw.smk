# The simulated stand-in for the raw files.


rule simulate:
    output:
        parquet="data/simulated/{split}.parquet",
        # The true click probabilities, used in metrics and never in training.
        truth="data/simulated/{split}_truth.parquet",
    log:
        "data/simulated/{split}.log",
    priority: 1  # for `describe`
    conda:
        "../envs/data.yaml"
    params:
        **setting_params(
            rows=lambda wildcards: TABLE["simulation"][f"{wildcards.split}_rows"],
            mean_length=TABLE["simulation"]["mean_length"],
            # Some test users are users of the train file. The train file depends on no test setting.
            train_rows=lambda wildcards: (
                TABLE["simulation"]["train_rows"] if wildcards.split == "test" else 0
            ),
        ),
        code=code("simulate"),
    message:
        "Simulating the stand-in for the {wildcards.split} file"
    script:
        "../scripts/simulate.py"
