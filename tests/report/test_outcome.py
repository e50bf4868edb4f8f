"""The last line of a run says what it submitted, and nothing of what others made."""

import os
from pathlib import Path
from typing import Any

from tossctr.common.files import write_json
from tossctr.report.outcome import outcome

START = 1_000.0
SUBMISSION = {
    "simulated_data": True,
    "models": ["full/len150"],
    "weights": [1.0],
    "prior": "balanced",
    "rows": 20_000,
}


def last_lines(results: Path, content: dict[str, Any], time: float = START + 10) -> list[str]:
    path = results / "submission_full.json"
    write_json(path, content)
    os.utime(path, (time, time))
    return [*outcome(results, START)]


def test_a_submission_is_told_with_its_models_weights_and_odds(tmp_path: Path) -> None:
    (line,) = last_lines(tmp_path, SUBMISSION)
    for word in ("submission_full.csv", "20,000 rows", "balanced", "len150", "SIMULATED"):
        assert word in line
    assert "(" not in line
    blend = {"models": ["full/len150", "full/boosting"], "weights": [0.25, 0.75]}
    (line,) = last_lines(tmp_path, SUBMISSION | blend | {"simulated_data": False})
    assert "len150 (0.25)" in line
    assert "boosting (0.75)" in line
    assert "SIMULATED" not in line
    assert last_lines(tmp_path, SUBMISSION, START - 1) == []
