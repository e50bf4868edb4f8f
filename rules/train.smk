# One model per size and name, of the kind that its name says.
import shutil
import time

from tossctr.common.files import locked
from tossctr.common.machine import CPU_WARNED, has_cuda_device
from tossctr.report.outcome import outcome

# Files that are newer are this run's.
STARTED = time.time()


rule train:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
        refit_of=[],
        first_model=[],
    output:
        model="results/{size}/{model}/model.safetensors",
        history="results/{size}/{model}/history.csv",
        training="results/{size}/{model}/training.json",
    log:
        "results/{size}/{model}/train.log",
    conda:
        model_env
    threads: lambda wildcards: 8 * max(1, training_gpus(wildcards))
    resources:
        gpu=training_gpus,
    params:
        **model_params(),
        code=code("train"),
    message:
        "Training {wildcards.model} on size {wildcards.size}"
    script:
        "../scripts/train.py"


# With submission.refit, this model submits.
use rule train as refit with:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map_to_all.output.feature_map,
        refit_of=rules.train.output.training,
        first_model=rules.train.output.model,
    output:
        model="results/{size}/{model}/refit/model.safetensors",
        history="results/{size}/{model}/refit/history.csv",
        training="results/{size}/{model}/refit/training.json",
    log:
        "results/{size}/{model}/refit/train.log",
    message:
        "Training {wildcards.model} on the held-out rows, too, size {wildcards.size}"


rule tune:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
    output:
        # A variant, for --configfile.
        best="results/{size}/tuning/{model}/best.yaml",
        trials="results/{size}/tuning/{model}/trials.csv",
    log:
        "results/{size}/tuning/{model}/tune.log",
    conda:
        "../envs/tune.yaml"
    threads: 8
    resources:
        # Trials share the card.
        gpu=lambda wildcards: min(1, training_gpus(wildcards)),
    params:
        **model_params(),
        **settings(
            tuning=config["tuning"]
            | {
                # The settings of the job's kind.
                "space": lambda wildcards: space_of(
                    config["tuning"]["space"], kind_of(wildcards.model).blocks
                )
            },
            variant=lambda wildcards: variant_settings(config, wildcards.size, wildcards.model),
        ),
        code=code("tune"),
    message:
        "Searching settings of {wildcards.model}, size {wildcards.size}"
    script:
        "../scripts/tune.py"


onstart:
    # Before Snakemake removes the log of a training that outlived another Snakemake.
    for job in workflow.dag.needrun_jobs():
        if job.rule.name not in (rules.train.rule.name, rules.refit.rule.name):
            continue
        state = Path(job.output[0]).with_name("training_state")
        if state.exists():
            try:
                with locked(state, "is training this model already"):
                    pass
            except UserError as error:
                raise WorkflowError(str(error)) from None
    # Jobs on this machine need not warn of it each.
    if workflow.local_exec and config["runtime"]["device"] == "auto" and not has_cuda_device():
        logger.warning("no CUDA device found: models train and predict on the CPU")
        os.environ[CPU_WARNED] = "1"


onsuccess:
    for line in outcome(RESULTS, STARTED):
        logger.info(line)
    # Not earlier: a finished job runs again if Snakemake is killed with it.
    for states in ("*/*/training_state", "*/*/*/training_state"):
        for state in RESULTS.glob(states):
            if (state.parent / "model.safetensors").exists():
                shutil.rmtree(state, ignore_errors=True)
