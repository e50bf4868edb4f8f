"""What a run prints on a terminal: a line as each step begins, and whatever goes wrong.

It takes the records of Snakemake's log, and knows them by the names of their events. The log's
file, and a run that prints into a file or a pipe, have all of them.
"""

import logging
import time
from collections.abc import Iterable

_DROPPED = ("RUN_INFO", "RESOURCES_INFO", "WORKFLOW_STARTED", "JOB_STARTED", "JOB_FINISHED")
# How the scheduler's own lines begin, which are of no event.
_PHRASES = (
    *("Building DAG of jobs", "Select jobs to execute", "Execute ", "Using shell", "Assuming "),
    *("DAG of jobs will be updated", "Updating checkpoint", "Conda environments"),
)


def print_briefly(handlers: Iterable[logging.Handler]) -> None:
    """Let those of the handlers that write to a terminal leave out what nobody waits for."""
    for handler in handlers:
        if getattr(handler, "is_tty", False):
            handler.addFilter(_Brief(handler))


class _Brief(logging.Filter):
    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self.handler = handler
        self.done = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """True for warnings, errors and what is left; a step's start is printed in a line."""
        event = getattr(getattr(record, "event", None), "name", "")
        if record.levelno > logging.INFO or event.endswith("_ERROR"):
            return True
        if event == "PROGRESS":
            self.done = f"{vars(record)['done']} of {vars(record)['total']} steps done: "
        if event == "JOB_INFO" and (message := vars(record).get("rule_msg")):
            text = f"{time.strftime('%H:%M:%S')} {self.done}{message}"
            self.handler.handle(logging.makeLogRecord({"levelno": logging.INFO, "msg": text}))
        is_noise = event in ("PROGRESS", "JOB_INFO", *_DROPPED)
        return not is_noise and not str(record.msg).startswith(_PHRASES)
