# Config check and wildcard constraints: all that can be found wrong before a job runs.
import os
import sys

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

sys.path.insert(0, f"{workflow.basedir}/scripts")
from feseq.config.catalog import BASELINES, MODEL_PATTERN
from feseq.config.columns import Columns
from feseq.common.errors import UserError
from feseq.config.check import check_config, check_targets
from feseq.raw.source import check_raw, locate_raw

# Jobs inherit it: OpenMP's threads, which wait for one another in loops, soon go to sleep instead.
# Beside other work on the same cores a training is several times as fast, alone a few percent slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# All that can be found wrong before a job runs; here, where an error comes without a traceback.
try:
    with open(f"{workflow.basedir}/config/config.schema.yaml") as schema:
        check_config(config, yaml.safe_load(schema))
    check_targets(config, sys.argv[1:])
    COLUMNS = Columns.from_config(config["columns"])
    RAW = locate_raw(config["raw"])
    # Jobs need not ask again, which for a remote file takes requests.
    if workflow.is_main_process:
        check_raw(RAW, COLUMNS.id)
except UserError as error:
    raise WorkflowError(str(error)) from None

if RAW.simulated and workflow.is_main_process:
    logger.warning(RAW.reason)


wildcard_constraints:
    split="train|test",
    size="toy|medium|full",
    model=MODEL_PATTERN,
    baseline="|".join(BASELINES),
    other="ensemble|" + "|".join(BASELINES),
    name=rf"{MODEL_PATTERN}|ensemble|{'|'.join(BASELINES)}",
    shard=r"\d+",
