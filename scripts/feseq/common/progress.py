"""Progress of a long step: a bar on a terminal, lines in a log."""

import logging
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts finished work and shows it; `progress` makes one."""

    def __init__(
        self, label: str, total: int, unit: str, done: int, every: float, bar: tqdm | None
    ) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = self._done_before = done
        self.bar = bar
        self._every = every
        self._figures: dict[str, float] = {}
        self._started = self._last_line = time.monotonic()

    def show(self, **figures: float) -> None:
        """Show these figures, such as the loss, from now on."""
        self._figures = figures
        if self.bar is not None:
            self.bar.set_postfix(figures)

    def advance(self, count: int) -> None:
        """Count `count` more as done."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        now = time.monotonic()
        if now - self._last_line >= self._every:
            self._last_line = now
            self._write(self._line(now - self._started))

    def _line(self, seconds: float) -> str:
        rate = (self.done - self._done_before) / max(seconds, 1e-9)
        left = tqdm.format_interval((self.total - self.done) / rate) if rate > 0 else "?"
        line = f"{self.label} {self.done:,} of {self.total:,} {self.unit}, "
        line += f"{rate:,.0f} {self.unit}/s, {left} left"
        return line + "".join(f", {name} {value:.5g}" for name, value in self._figures.items())

    def _write(self, line: str) -> None:
        """Write to all handlers of the log; beside a bar, only to files."""
        if self.bar is None:
            logger.info("%s", line)
            return
        record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, line, (), None)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handle(record)


@contextmanager
def progress(
    label: str, total: int, unit: str = "rows", *, done: int = 0, verbosity: int = 1
) -> Iterator[Progress]:
    """Show how much of `total` is done, the rate and the time left, while the block is open.

    `label` is a past participle such as 'converted'; an earlier process did the first `done`.
    A terminal gets a bar, and the log's files a line every SECONDS_BETWEEN_LINES. Without a
    terminal, and in worker processes, the whole log gets these lines. Verbosity 0 shows nothing, 2
    redraws the bar more often.
    """
    every = SECONDS_BETWEEN_LINES if verbosity > 0 else math.inf
    is_worker = multiprocessing.parent_process() is not None
    if verbosity == 0 or is_worker or not sys.stderr.isatty():
        yield Progress(label, total, unit, done, every, None)
        return
    with (
        logging_redirect_tqdm(),
        tqdm(
            desc=label,
            total=total,
            initial=done,
            unit=f" {unit}",
            unit_scale=True,
            mininterval=0.1 if verbosity > 1 else 0.5,
            dynamic_ncols=True,
            # A bar inside another one disappears when it is full.
            leave=None,
        ) as bar,
    ):
        yield Progress(label, total, unit, done, every, bar)
