"""Alarms: faults in the data that distort metrics or harm models, and how to fix them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.files import read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alarm:
    """A fault in the data, in one sentence, and how to fix it."""

    text: str
    advice: str


def read_alarms(facts: Path) -> list[Alarm]:
    """Read the alarms from `facts`, a data.json file."""
    return read_json(
        facts, lambda plain: [Alarm(**alarm) for alarm in plain["alarms"]], kind="data.json"
    )


def log_alarms(alarms: Sequence[Alarm], page: Path) -> None:
    """Log each alarm, with the path of the data page."""
    for alarm in alarms:
        logger.warning("ALARM (%s): %s. %s", page, alarm.text, alarm.advice)
