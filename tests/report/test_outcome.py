"""The last line of a run says what it submitted, and nothing of what others made."""

from pathlib import Path
from typing import Any

import pytest

from tossctr.common.files import write_json
from tossctr.report.outcome import outcome

BOTH = {"models": ["full/len150", "full/boosting"], "weights": [0.25, 0.75]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "20,000 rows, balanced odds: len150, SIMULATED"),
        (BOTH | {"simulated_data": False}, "balanced odds: len150 (0.25) + boosting (0.75)"),
    ],
)
def test_a_submission_is_told_with_its_models_weights_and_odds(
    tmp_path: Path, content: dict[str, Any], said: str
) -> None:
    path = tmp_path / "submission_full.json"
    about = {"simulated_data": True, "models": ["full/len150"], "weights": [1.0]}
    write_json(path, about | {"prior": "balanced", "rows": 20_000} | content)
    (line,) = outcome(tmp_path, 0)
    assert line.startswith(str(path.with_suffix(".csv")))
    assert line.endswith(said)
    assert [*outcome(tmp_path, path.stat().st_mtime + 1)] == []
