"""Alarms: faults of the data that make metrics wrong or models bad, and how to fix them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.files import read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alarm:
    """A fault of the data, in a sentence, and how to fix it."""

    text: str
    advice: str


def read_alarms(facts: Path) -> list[Alarm]:
    """The alarms in a file of facts (data.json), written by `describe`."""
    return read_json(
        facts, lambda plain: [Alarm(**alarm) for alarm in plain["alarms"]], kind="data.json"
    )


def warn_of(alarms: Sequence[Alarm], where: Path) -> None:
    """Log each alarm, and where to read more."""
    for alarm in alarms:
        logger.warning("ALARM (%s): %s. %s", where, alarm.text, alarm.advice)
