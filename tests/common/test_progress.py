"""Progress: sparse lines in a log, with the rate and the time left."""

import logging

import pytest

from feseq.common import progress as module
from feseq.common.progress import Progress


@pytest.mark.parametrize(
    ("verbosity", "done"),
    [(0, []), (1, [5000, 8000, 11_000]), (2, list(range(2500, 11_501, 500)))],
)
def test_a_line_comes_every_half_minute_or_more_often(
    verbosity: int,
    done: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    converting = Progress("converted", 100_000, done=2000, verbosity=verbosity)
    for _ in range(95):
        now += 1
        converting.show(loss=0.123456)
        converting.advance(100)
    # At 100 rows a second; what was done before tells nothing of the rate.
    assert caplog.messages == [
        f"converted {rows:,} of 100,000 rows, 100 rows/s, "
        f"{module.duration((100_000 - rows) / 100)} left, loss 0.12346"
        for rows in done
    ]
