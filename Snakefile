# Click logs (parquet or CSV) to a submission CSV, by FESeq and boosting. Stages in order:
# raw -> sample -> convert -> fit_feature_map -> train -> predict_valid -> measure -> compare -> summarize
#                                                     -> predict -> submit

from snakemake.utils import min_version

min_version("9.0")


report: "rules/captions/workflow.rst"


configfile: f"{workflow.current_basedir}/config/config.yaml"


include: "rules/common.smk"
include: "rules/params.smk"
include: "rules/inputs.smk"


rule all:
    input:
        (
            "results/submission_full.csv"
            if RAW.test
            # Without a test file: the metrics of the submission models.
            else collect(
                "results/full/{model}/metrics.json", model=submission_models(config, "full")
            )
        ),
        "results/summary.md",
    message:
        "All files are complete"


if TABLE["simulation"]:

    include: "rules/raw.smk"


include: "rules/dataset.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/plots.smk"
include: "rules/report.smk"
include: "rules/predict.smk"
include: "rules/score.smk"
include: "rules/export.smk"
