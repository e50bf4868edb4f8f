"""The rules of the workflow, as Snakemake reads them."""

import os
import signal
from contextlib import chdir
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings

from support import REPOSITORY


@cache
def rules() -> dict[str, Any]:
    """Snakemake's own objects by name."""
    output = OutputSettings(quiet={Quietness.ALL})
    with TemporaryDirectory() as folder, chdir(os.getcwd()), SnakemakeApi(output) as api:
        os.chdir(folder)
        workflow = api.workflow(ResourceSettings(cores=1), snakefile=REPOSITORY / "Snakefile")
        by_name = {rule.name: rule for rule in workflow._workflow.rules}
    # The workflow has taken Ctrl-C for itself, which other tests send to this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return by_name
