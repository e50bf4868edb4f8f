# Checks of config and raw files before any job; wildcard constraints.
import functools
import re
import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import update_config

# Not `workflow.basedir`, which would be the folder of an importing workflow.
SCRIPTS = Path(str(workflow.current_basedir)).parent / "scripts"
OWN_CONFIG = str(SCRIPTS.parent / "config/config.yaml")
sys.path.insert(0, str(SCRIPTS))
from tossctr.common.errors import UserError
from tossctr.common.interrupt import end_jobs_on_interrupt
from tossctr.catalog.check import checked_config, load_table_file
from tossctr.config.columns import Columns
from tossctr.config.names import BASELINES, BLEND
from tossctr.raw.raw_files import locate_raw, protect_real_results

RESULTS = Path("results")

# An importing workflow passes only changed keys, and `configfile` has no effect.
IS_IMPORTED = OWN_CONFIG not in map(str, workflow.configfiles)
if IS_IMPORTED:
    defaults = load_configfile(OWN_CONFIG)
    update_config(defaults, config)
    config.update(defaults)

# Checks that need no job; their errors are shown without a traceback.
try:
    # The table file is looked for in the working folder, then in the repository.
    merged, files = load_table_file(config, [Path(), SCRIPTS.parent])
    # An importing workflow's config files also have keys of that workflow.
    config.update(checked_config(merged, [*files, *([] if IS_IMPORTED else workflow.configfiles)]))
    TABLE = config["table"]
    COLUMNS = Columns.from_config(TABLE["columns"])
    RAW = locate_raw(TABLE["raw"], has_stand_in=TABLE["simulation"] is not None)
    if workflow.is_main_process:
        end_jobs_on_interrupt()
        # Not repeated in jobs, to save requests to remote files.
        RAW.check(COLUMNS, *filter(None, (TABLE["columns"][key] for key in ("time", "group"))))
        protect_real_results(RAW, RESULTS)
except UserError as error:
    raise WorkflowError(str(error)) from None
# The terminal has a few lines for each job; the file in .snakemake/log/ has all.
ROUTINE = (
    "Assuming unrestricted|Using shell|Rules claiming|Provided resources|Conda environments: ign|"
    "Select jobs|Execute [0-9]+ jobs|Finished jobid|DAG of jobs will|Updating checkpoint|"
    r"RuleException:\s+CalledProcessError"
)
for handler in logger.handlers:
    if handler.name == "DefaultStreamHandler":
        handler.addFilter(lambda record: not re.match(ROUTINE, record.getMessage()))
        # If outputs are missing, the reason omits updated inputs, which would fill three lines.
        shorten = functools.partial(
            re.sub, "(: Missing output files: .*); Input files updated by .*", r"\1"
        )
        handler.format = lambda record, full=handler.format: shorten(full(record))
if workflow.is_main_process and RAW.is_simulated:
    logger.warning(f"SIMULATED DATA: {RAW.why_simulated}, so this run uses the simulated stand-in")


def no_traceback(function):
    """Wrap an input or params function: after a UserError, Snakemake ends with the message only.

    For other exceptions, Snakemake shows a traceback.
    """

    @functools.wraps(function)
    def wrapped(*values, **named):
        try:
            return function(*values, **named)
        except UserError as error:
            logger.error(str(error))
            raise SystemExit(1) from None

    return wrapped


wildcard_constraints:
    split="train|test",
    # results/scores/ is not a size's folder.
    size=r"(?!scores/)\w+",
    # Also matches misspelt names, so that the model kind can report the error.
    model="(?!(" + "|".join([BLEND, *BASELINES]) + ")/)[^/]+",
    baseline="|".join(BASELINES),
    name="[^/]+",
    scored="([^/]+/){0,2}[^/]+",
    part=r"\d\d\d|[1-9]\d\d\d+",
    plot="learning_curves|importance",
