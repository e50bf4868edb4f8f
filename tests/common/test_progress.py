"""Progress: a bar on a terminal, sparse lines in a log, and counts that add up."""

import contextlib
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feseq.common import progress as module
from feseq.common.progress import progress
from feseq.dataset.feature_map import fit_feature_map
from feseq.evaluate.baselines import fit_baseline
from feseq.raw.simulation import simulate_split
from support.raw_tables import COLUMNS, raw_table, to_test_h5, to_train_h5


class Clock:
    """Stands for the module `time`: what time it is, the test says."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@contextmanager
def on_a_terminal(log: Path) -> Iterator[Terminal]:
    """stderr as a terminal, and logging to it and to a file, as scripts/door.py has it."""
    terminal, root = Terminal(), logging.getLogger()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.closing(logging.FileHandler(log)) as file,
    ):
        patch.setattr("sys.stderr", terminal)
        patch.setattr(root, "handlers", [logging.StreamHandler(terminal), file])
        yield terminal


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == module.__name__]


def work(clock: Clock, pieces: int, *, seconds: float = 1, verbosity: int = 1) -> None:
    """A hundred rows a piece."""
    with progress("converted", 100_000, done=2_000, verbosity=verbosity) as converting:
        for _ in range(pieces):
            clock.now += seconds
            converting.advance(100)


def test_a_log_gets_a_line_every_half_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    work(clock, 95)
    # At 100 rows a second; what was done before says nothing of the rate.
    assert lines(caplog) == [
        "converted 5,000 of 100,000 rows, 100 rows/s, 15:50 left",
        "converted 8,000 of 100,000 rows, 100 rows/s, 15:20 left",
        "converted 11,000 of 100,000 rows, 100 rows/s, 14:50 left",
    ]


def test_a_short_step_logs_no_line(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    work(clock, 29)
    assert lines(caplog) == []


def test_verbosity_0_shows_nothing(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    work(clock, 3, seconds=100, verbosity=0)
    with on_a_terminal(tmp_path / "log") as terminal:
        work(clock, 3, seconds=100, verbosity=0)
    assert terminal.getvalue() + (tmp_path / "log").read_text() + caplog.text == ""


def test_figures_are_shown_beside_until_there_are_others(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with progress("trained", 200, "samples") as training:
        training.show(loss=0.123456)
        for _ in range(2):
            clock.now += 40
            training.advance(80)
    assert lines(caplog)[1] == "trained 160 of 200 samples, 2 samples/s, 00:20 left, loss 0.12346"


def test_on_a_terminal_the_bar_is_whole_and_the_lines_go_to_the_file(
    clock: Clock, tmp_path: Path
) -> None:
    handlers = list(logging.getLogger().handlers)
    with on_a_terminal(tmp_path / "log") as terminal, progress("converted", 300) as converting:
        for _ in range(3):
            clock.now += 31
            converting.advance(100)
            logging.getLogger("other").warning("a warning")
    in_file = (tmp_path / "log").read_text().splitlines()
    assert in_file[0] == "converted 100 of 300 rows, 3 rows/s, 01:02 left"
    assert in_file[1::2] == ["a warning"] * 3
    assert len(in_file) == 6
    shown = terminal.getvalue()
    assert "of 300 rows" not in shown
    assert re.search(r"converted: 100%.*300/300 .* rows/s\]", shown)
    # Each warning stands on a line of its own, where the bar was cleared.
    assert len(re.findall(r"\r *\ra warning\n", shown)) == 3
    assert logging.getLogger().handlers == handlers


@pytest.mark.workflow
def test_what_the_steps_report_adds_up_to_all_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setattr("feseq.evaluate.tabular.BLOCK_ROWS", 16)
    monkeypatch.setattr("feseq.dataset.conversion.BATCH_ROWS", 16)

    def last_lines() -> list[str]:
        found = {text.split(" of ")[0].rsplit(" ", 1)[0]: text for text in lines(caplog)}
        caplog.clear()
        return [text.split(" rows,")[0] for text in found.values()]

    simulate_split(
        tmp_path / "s.parquet",
        tmp_path / "t.parquet",
        split="train",
        rows=50,
        mean_length=5,
        seed=1,
        chunk_rows=20,
    )
    assert last_lines() == ["simulated 50 of 50"]
    train, valid = to_train_h5(tmp_path, raw_table(120))
    assert last_lines() == ["converted 120 of 120"]
    to_test_h5(tmp_path, raw_table(70))
    assert last_lines() == ["listed 70 of 70", "converted 70 of 70"]
    fit_feature_map(train, COLUMNS, 1).write(tmp_path / "map.json")
    assert last_lines() == ["counted 90 of 90"]
    outputs = tmp_path / "predictions", tmp_path / "training"
    fit_baseline(
        "logistic_regression", train, valid, tmp_path / "map.json", *outputs, rows_at_most=99
    )
    assert last_lines() == ["counted 90 of 90", "read 90 of 90", "predicted 30 of 30"]
