"""The submissions that a run has written, as its last lines on the terminal."""

from collections.abc import Iterator
from pathlib import Path

from ..common.files import read_json


def outcome(results: Path, started: float) -> Iterator[str]:
    """A line for each submission newer than `started`: rows, odds, models and weights."""
    for path in results.glob("submission_*.json"):
        if path.stat().st_mtime < started:
            continue
        about = read_json(path)
        names = [name.rpartition("/")[2] for name in about["models"]]
        weights = [f" ({weight:.2g})" if len(names) > 1 else "" for weight in about["weights"]]
        models = " + ".join(f"{name}{weight}" for name, weight in zip(names, weights))
        data = ", SIMULATED" if about["simulated_data"] else ""
        csv = path.with_suffix(".csv")
        yield f"{csv}: {about['rows']:,} rows, {about['prior']} odds: {models}{data}"
