"""Progress of a long step, as lines of the log."""

import logging
import time
from datetime import timedelta

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 20


class Progress:
    """Counts finished work, and logs how much of `total` is done, the rate and the time left.

    `label` is a past participle such as 'converted'; an earlier process did the first `done`.
    """

    def __init__(self, label: str, total: int, unit: str = "rows", *, done: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self._done_before = done
        self._started = self._last_line = time.monotonic()

    def advance(self, count: int) -> None:
        """Count `count` more as done."""
        self.done += count
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            rate = (self.done - self._done_before) / max(now - self._started, 1e-9)
            left = duration((self.total - self.done) / rate) if rate else "?"
            logger.info(
                "%s %s of %s %s, %s %s/s, %s left",
                *(self.label, f"{self.done:,}", f"{self.total:,}", self.unit),
                *(f"{rate:,.0f}", self.unit, left),
            )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
