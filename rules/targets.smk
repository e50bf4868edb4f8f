# The last file, which knows all rules.
from feseq.catalog.targets import TargetHint

if workflow.is_main_process:
    logger.addFilter(TargetHint(config, workflow.rules))
