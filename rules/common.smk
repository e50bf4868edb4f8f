# Config check, wildcard constraints, and the input functions of more than one rule.
import json
import sys

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

sys.path.insert(0, f"{workflow.basedir}/scripts")
from feseq.columns import Columns
from feseq.errors import UserError
from feseq.files import fingerprint
from feseq.raw import check_same_origin
from feseq.settings import check_config, check_targets, locate_raw, model_settings

# All that can be found wrong before a job runs; here, where an error comes without a traceback.
try:
    with open(f"{workflow.basedir}/config/config.schema.yaml") as schema:
        check_config(config, yaml.safe_load(schema))
    check_targets(config, sys.argv[1:])
    COLUMNS = Columns.from_config(config["columns"])
    RAW = locate_raw(config["raw"], COLUMNS.id)
    if not RAW.simulated:
        check_same_origin(RAW.train, RAW.test)
except UserError as error:
    raise WorkflowError(str(error)) from None

if RAW.simulated and workflow.is_main_process:
    logger.warning(RAW.reason)


wildcard_constraints:
    split="train|test",
    size="toy|medium|full",
    max_len=r"[1-9]\d*",
    shard=r"\d+",


def as_settings(**values):
    """Settings as one JSON text, so that Snakemake sees every change, swapped values too."""
    return json.dumps(values, sort_keys=True)


def settings(**values):
    """Params function for settings that are the same for every job of a rule."""
    # A function, because Snakemake looks for wildcards between the braces of a plain text.
    return lambda wildcards: as_settings(**values)


def raw_version(path):
    """What changes with the content of a raw file, whatever its time; the stand-in has settings."""
    return None if RAW.simulated else fingerprint(path)


def model_and_train_config(wildcards):
    """Params function: the settings of the job's size, with its max_len."""
    return as_settings(**model_settings(config, wildcards.size, int(wildcards.max_len)))


def submitting(path):
    """Input function: `path` of the model that submits for the job's size."""
    return lambda wildcards: path.format(
        size=wildcards.size,
        max_len=config["sizes"][wildcards.size]["submission_max_len"],
    )


def shard_predictions(wildcards):
    """One prediction file per shard; known once the test file is converted."""
    with checkpoints.convert_test.get().output.shards.open() as shards:
        count = len(json.load(shards))
    path = submitting(rules.predict.output.predictions.replace("{shard}", "{{shard}}"))
    return expand(path(wildcards), shard=range(count))
