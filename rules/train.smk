# Training and tuning of models; a model's name determines its kind.
import time

from tossctr.common.machine import has_cuda_device
from tossctr.models.base import refuse_models_in_training, remove_training_states
from tossctr.report.outcome import failure_lines, result_lines

# Files that this run writes are newer.
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
        **DIGESTS.model_params(),
        **untracked_params(id_column=COLUMNS.id),
        code=code("train"),
    message:
        "Training {wildcards.model} on size {wildcards.size}"
    script:
        "../scripts/train.py"


# With submission.refit, this model predicts the test file.
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
        "Retraining {wildcards.model} with the validation rows, size {wildcards.size}"


rule tune:
    input:
        train=train_parts,
        valid=valid_parts,
        feature_map=rules.fit_feature_map.output.feature_map,
    output:
        # The best settings as a variant, for --configfile.
        best="results/{size}/tuning/{model}/best.yaml",
        trials="results/{size}/tuning/{model}/trials.csv",
    log:
        "results/{size}/tuning/{model}/tune.log",
    conda:
        "../envs/tune.yaml"
    threads: 8
    resources:
        # Trials share one GPU.
        gpu=lambda wildcards: min(1, training_gpus(wildcards)),
    params:
        **DIGESTS.model_params(),
        **setting_params(
            tuning=config["tuning"] | {"space": tuning_space},
            variant=lambda wildcards: variant_settings(config, wildcards.size, wildcards.model),
        ),
        code=code("tune"),
    message:
        "Searching for better settings of {wildcards.model}, size {wildcards.size}"
    script:
        "../scripts/tune.py"


onstart:
    # Checked before Snakemake removes the log of a training that another Snakemake still runs.
    trainings = (rules.train.rule.name, rules.refit.rule.name)
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name in trainings]
    try:
        refuse_models_in_training(Path(job.output[0]) for job in jobs)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    if workflow.local_exec and config["runtime"]["device"] == "auto" and not has_cuda_device():
        logger.warning("no CUDA device found: models train and predict on the CPU")


onerror:
    for line in failure_lines(Path(log[0])):
        logger.error(line)


onsuccess:
    for line in result_lines(RESULTS, STARTED):
        logger.info(line)
    # Not earlier: if Snakemake is killed just after a job has finished, the job runs again.
    remove_training_states(RESULTS)
