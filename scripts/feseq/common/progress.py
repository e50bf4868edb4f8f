"""Progress of a long step, as lines of the log."""

import logging
import math
import time
from datetime import timedelta

logger = logging.getLogger(__name__)

# By verbosity.
SECONDS_BETWEEN_LINES = (math.inf, 20.0, 5.0)


class Progress:
    """Counts finished work, and logs how much of `total` is done, the rate and the time left.

    `label` is a past participle such as 'converted'; an earlier process did the first `done`.
    Verbosity 0 logs nothing, 1 a line every 20 seconds, 2 every 5.
    """

    def __init__(
        self, label: str, total: int, unit: str = "rows", *, done: int = 0, verbosity: int = 1
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self._done_before = done
        self._every = SECONDS_BETWEEN_LINES[verbosity]
        self._values: dict[str, float] = {}
        self._started = self._last_line = time.monotonic()

    def show(self, **values: float) -> None:
        """Show these values, such as the loss, from now on."""
        self._values = values

    def advance(self, count: int) -> None:
        """Count `count` more as done."""
        self.done += count
        now = time.monotonic()
        if now - self._last_line >= self._every:
            self._last_line = now
            rate = (self.done - self._done_before) / max(now - self._started, 1e-9)
            left = duration((self.total - self.done) / rate) if rate else "?"
            logger.info(
                "%s %s of %s %s, %s %s/s, %s left%s",
                *(self.label, f"{self.done:,}", f"{self.total:,}", self.unit),
                *(f"{rate:,.0f}", self.unit, left),
                "".join(f", {name} {value:.5g}" for name, value in self._values.items()),
            )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
