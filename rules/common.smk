# Checks of config and raw files, before any job runs; wildcard constraints.
import functools
import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import update_config

# Not `workflow.basedir`, which is the importer's where another workflow imports this one.
SCRIPTS = Path(str(workflow.current_basedir)).parent / "scripts"
OWN_CONFIG = str(SCRIPTS.parent / "config/config.yaml")
if not SCRIPTS.is_dir():
    raise WorkflowError(
        f"{workflow.current_basedir}: is in no folder on this disk, and scripts import scripts/tossctr "
        f'from one; import the file path="workflow/Snakefile" of the repository, which makes one'
    )
sys.path.insert(0, str(SCRIPTS))
from tossctr.common.errors import UserError
from tossctr.common.interrupt import interrupt_jobs
from tossctr.common.files import locked
from tossctr.catalog.check import checked_workflow
from tossctr.config.names import BASELINES, BLEND
from tossctr.raw.raw_files import refuse_stand_in_over_real

RESULTS = Path("results")

# A workflow that imports this one gives the keys that it changes, and `configfile` does nothing.
IS_IMPORTED = OWN_CONFIG not in map(str, workflow.configfiles)
if IS_IMPORTED:
    defaults = load_configfile(OWN_CONFIG)
    update_config(defaults, config)
    config.update(defaults)

if workflow.is_main_process:
    interrupt_jobs()

# All checks that need no job. They run here, where an error comes without a traceback.
try:
    checked, COLUMNS, RAW = checked_workflow(
        config,
        # Those of a workflow that imports this one have other keys, too.
        [] if IS_IMPORTED else workflow.configfiles,
        # The table's file is the user's, or one of the repository.
        [Path(), SCRIPTS.parent],
        # Jobs need not ask again, which for a remote file takes requests.
        opens_raw=workflow.is_main_process,
    )
    config.update(checked)
    if workflow.is_main_process:
        refuse_stand_in_over_real(RAW, RESULTS)
except UserError as error:
    raise WorkflowError(str(error)) from None
TABLE = config["table"]
if workflow.is_main_process and RAW.simulated:
    logger.warning(f"SIMULATED DATA: {RAW.why}, so this run uses the simulated stand-in")


def clear_errors(function):
    """`function` for inputs or params, whose UserError ends Snakemake with its message alone.

    Snakemake shows a traceback for any other exception in such a function.
    """

    @functools.wraps(function)
    def wrapped(*values, **named):
        try:
            return function(*values, **named)
        except UserError as error:
            logger.error(str(error))
            raise SystemExit(1) from None

    return wrapped


@clear_errors
def check_unlocked(folder):
    """End Snakemake if a process is at work in a folder of saved state."""
    if folder.exists():
        with locked(folder, "is training this model already"):
            pass


# Not within an f-string below, whose tokens differ between versions of Python, and so snakefmt's form.
NO_MODELS = "|".join([BLEND, *BASELINES])


wildcard_constraints:
    split="train|test",
    # results/scores/ is the folder of no size.
    size=r"(?!scores/)\w+",
    # Wide enough for names with a mistake: the family then says what is wrong.
    model=rf"(?!(?:{NO_MODELS})/)[^/]+",
    baseline="|".join(BASELINES),
    name="[^/]+",
    scored="([^/]+/){0,2}[^/]+",
    part=r"\d\d\d|[1-9]\d\d\d+",
    plot="learning_curves|importance",
