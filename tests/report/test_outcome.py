"""The last lines of a run say what it made, and nothing of what others made."""

import os
from pathlib import Path
from typing import Any

import pytest

from feseq.common.files import write_json
from feseq.report.outcome import outcome

START = 1_000.0
RESULTS = Path("results")
SUBMISSION = {
    "simulated_data": True,
    "models": ["full/len150"],
    "weights": [1.0],
    "prior": "balanced",
    "rows": 20_000,
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(path: Path, content: Any, time: float = START + 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    os.utime(path, (time, time))


def metrics(value: float, low: float | None, high: float | None) -> dict[str, Any]:
    """Metrics of which the balanced score has these numbers."""
    entries = {"auc": {"value": 0.1, "low": None, "high": None}}
    entries["balanced_score"] = {"value": value, "low": low, "high": high}
    return {"metrics": entries, "clicks": 100}


def last_lines(metric: str = "balanced_score") -> list[str]:
    return outcome(RESULTS, START, metric, "snakemake --report", refit=False)


def test_a_submission_is_told_with_its_models_weights_odds_and_their_scores() -> None:
    assert last_lines() == []
    training = {"valid_auc": 0.7, "valid_rows": 5_000, "valid_clicks": 100}
    put(RESULTS / "submission_full.json", SUBMISSION)
    put(RESULTS / "full/len150/training.json", training, START - 10)
    put(RESULTS / "full/data.md", {})
    made, score, pages = last_lines()
    for word in ("submission_full.csv", "20,000 rows", "balanced", "len150", "SIMULATED"):
        assert word in made
    # An AUC of 100 clicks has an error of about .03.
    assert "0.7000 [0.64" in score
    assert "0.75" in score
    assert "data.md" in pages
    # Metrics of an older training are not this one's.
    put(RESULTS / "full/len150/metrics.json", metrics(0.9, 0.8, 0.95), START - 20)
    assert "0.7000" in last_lines()[1]
    put(RESULTS / "full/len150/metrics.json", metrics(0.9, 0.8, 0.95))
    assert "0.9000 [0.800, 0.950]" in last_lines()[1]
    # A summary says what to submit.
    summary = RESULTS / "summary.md"
    summary.write_text("**Submit len150** (100 clicks).\n\n# Models\n")
    os.utime(summary, (START + 10, START + 10))
    assert "Submit len150 (100 clicks)." in last_lines()
    # With few clicks, there is no interval.
    put(RESULTS / "full/len150/metrics.json", metrics(0.9, None, None))
    assert "[" not in last_lines()[1]


def test_before_metrics_are_measured_there_is_what_every_training_has_written() -> None:
    training = {"valid_auc": 0.7, "valid_logloss": 0.0812345, "valid_rows": 5_000}
    put(RESULTS / "full/len150/training.json", training | {"valid_clicks": 100})
    for metric, shown in (
        ("balanced_score", "AUC 0.7000 ["),
        ("auc", "AUC 0.7000 ["),
        # Its interval takes the rows.
        ("logloss", "logloss 0.08123, 100 clicks"),
    ):
        assert shown in last_lines(metric)[0]


def test_a_blend_counts_where_it_is_not_older_than_its_models() -> None:
    blend = {"models": ["full/len150", "full/boosting"], "weights": [0.25, 0.75]}
    put(RESULTS / "submission_full.json", SUBMISSION | blend)
    for name in ("len150", "boosting"):
        put(RESULTS / "full" / name / "model.safetensors", {})
        put(RESULTS / "full" / name / "training.json", {})
    score = {"value": 0.8, "low": 0.7, "high": 0.9, "clicks": 100}
    weights = {"len150": 0.25, "boosting": 0.75}
    blended = {"metric": "balanced_score", "valid_score": score, "settings": weights}
    put(RESULTS / "full/blend/training.json", blended)
    made, shown = last_lines()
    assert "len150 (0.25)" in made
    assert "boosting (0.75)" in made
    assert "blend balanced score 0.8000 [0.700, 0.900]" in shown
    # A blend that was fitted is not the one whose weights the config now gives.
    put(RESULTS / "submission_full.json", SUBMISSION | blend | {"weights": [0.1, 0.9]})
    assert len(last_lines()) == 1
    put(RESULTS / "submission_full.json", SUBMISSION | blend)
    assert len(last_lines()) == 2
    put(RESULTS / "full/boosting/model.safetensors", {}, START + 20)
    assert len(last_lines()) == 1


def test_without_a_submission_its_models_are_told_and_damaged_files_are_left_out() -> None:
    put(RESULTS / "submission_toy.json", SUBMISSION, START - 1)
    put(RESULTS / "submission_full.json", {})
    (RESULTS / "full/boosting").mkdir(parents=True)
    (RESULTS / "full/boosting/training.json").write_text("{")
    put(RESULTS / "full/len150/metrics.json", metrics(0.9, 0.8, 0.95))
    (line,) = last_lines()
    assert "len150: balanced score 0.9000" in line
