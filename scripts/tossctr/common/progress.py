"""Progress of a long step, in the log."""

import logging
import time
from datetime import timedelta

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 20


class Progress:
    """Counts finished units of work, such as rows, and logs a line every 20 seconds.

        converted 300 of 900 rows, 15 rows/s, 0:00:40 left

    `label` is the first word of the line, `total` the number of units at the end. `done` units were
    finished before, for example before an interruption.
    """

    def __init__(self, label: str, total: int, unit: str = "rows", *, done: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self._done_before = done
        self._started = self._last_line = time.monotonic()

    def advance(self, count: int) -> None:
        """Add `count` finished units."""
        self.done += count
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            rate = (self.done - self._done_before) / max(now - self._started, 1e-9)
            seconds = round((self.total - self.done) / rate) if rate else 0
            logger.info(
                "%s %s of %s %s, %s %s/s, %s left",
                *(self.label, f"{self.done:,}", f"{self.total:,}", self.unit),
                *(f"{rate:,.0f}", self.unit, timedelta(seconds=seconds) if rate else "?"),
            )
