"""What a run prints on a terminal."""

import io
import logging
from pathlib import Path
from typing import Any

from snakemake.logging import ColorizingTextHandler
from snakemake_interface_logger_plugins.common import LogEvent

from feseq.common.terminal import print_briefly


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(stream: io.StringIO, *records: tuple[LogEvent | None, dict[str, Any]]) -> list[str]:
    handler = ColorizingTextHandler(nocolor=True, stream=stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    print_briefly([handler, logging.FileHandler("/dev/null")])
    for event, values in records:
        level = {"levelno": logging.INFO, "levelname": "INFO", "event": event}
        handler.handle(logging.makeLogRecord(level | values))
    return [line for line in stream.getvalue().splitlines() if line]


RUN: list[tuple[LogEvent | None, dict[str, Any]]] = [
    (LogEvent.WORKFLOW_STARTED, {"msg": "SNAKEMAKE"}),
    (None, {"msg": "Select jobs to execute..."}),
    (LogEvent.RUN_INFO, {"msg": "Job stats:"}),
    (LogEvent.JOB_INFO, {"msg": "", "rule_msg": "Drawing the rows", "reason": "Missing"}),
    (LogEvent.JOB_FINISHED, {"msg": "Finished jobid: 1"}),
    (LogEvent.PROGRESS, {"msg": "", "done": 1, "total": 3}),
    (LogEvent.JOB_INFO, {"msg": "", "rule_msg": "Training", "reason": "Missing"}),
    (LogEvent.JOB_ERROR, {"msg": "Error in rule train"}),
    (None, {"msg": "the raw file is gone", "levelno": logging.ERROR, "levelname": "ERROR"}),
    (None, {"msg": "Nothing to be done."}),
]


def test_a_terminal_gets_a_line_a_step_and_every_error() -> None:
    lines = printed(Terminal(), *RUN)
    assert [line[9:] for line in lines[:2]] == [
        "Drawing the rows",
        "1 of 3 steps done: Training",
    ]
    assert lines[2:] == ["Error in rule train", "the raw file is gone", "Nothing to be done."]


def test_a_pipe_gets_everything(tmp_path: Path) -> None:
    assert len(printed(io.StringIO(), *RUN)) == len([r for r in RUN if r[1]["msg"]])
