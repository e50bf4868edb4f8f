# Checks of config and raw files, before any job runs; wildcard constraints.
import functools
import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import update_config

# Not `workflow.basedir`: if another workflow imports this one, that is the importer's folder.
SCRIPTS = Path(str(workflow.current_basedir)).parent / "scripts"
OWN_CONFIG = str(SCRIPTS.parent / "config/config.yaml")
sys.path.insert(0, str(SCRIPTS))
from tossctr.common.errors import UserError
from tossctr.common.interrupt import end_jobs_on_interrupt
from tossctr.catalog.check import checked_config, with_table
from tossctr.config.columns import Columns
from tossctr.config.names import BASELINES, BLEND
from tossctr.raw.raw_files import locate_raw, protect_real_results

RESULTS = Path("results")

# An importing workflow passes only the keys that it changes, and `configfile` has no effect.
IS_IMPORTED = OWN_CONFIG not in map(str, workflow.configfiles)
if IS_IMPORTED:
    defaults = load_configfile(OWN_CONFIG)
    update_config(defaults, config)
    config.update(defaults)

# All checks that need no job. Here, their errors are shown without a traceback.
try:
    # The table's file is looked up in the working folder, then in the repository.
    given, files = with_table(config, [Path(), SCRIPTS.parent])
    # The config files of a workflow that imports this one also have other keys.
    config.update(checked_config(given, [*files, *([] if IS_IMPORTED else workflow.configfiles)]))
    TABLE = config["table"]
    COLUMNS = Columns.from_config(TABLE["columns"])
    RAW = locate_raw(TABLE["raw"], has_stand_in=TABLE["simulation"] is not None)
    if workflow.is_main_process:
        end_jobs_on_interrupt()
        # Jobs need not check again, which would cost requests for remote files.
        RAW.check(COLUMNS, *filter(None, (TABLE["columns"][key] for key in ("time", "group"))))
        protect_real_results(RAW, RESULTS)
except UserError as error:
    raise WorkflowError(str(error)) from None
if workflow.is_main_process and RAW.is_simulated:
    logger.warning(f"SIMULATED DATA: {RAW.why_simulated}, so this run uses the simulated stand-in")


def no_traceback(function):
    """Wrap an input or params function: its UserError ends Snakemake with the message alone.

    For any other exception in such a function, Snakemake shows a traceback.
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
    # Also matches misspelt names, so that the model kind can report what is wrong.
    model="(?!(" + "|".join([BLEND, *BASELINES]) + ")/)[^/]+",
    baseline="|".join(BASELINES),
    name="[^/]+",
    scored="([^/]+/){0,2}[^/]+",
    part=r"\d\d\d|[1-9]\d\d\d+",
    plot="learning_curves|importance",
