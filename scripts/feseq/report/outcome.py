"""What a run has made, as the last lines on the terminal; quick, since the run waits for it."""

import math
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..common.errors import UserError
from ..common.files import read_json
from ..config.names import BLEND, FEW_CLICKS, MODEL_FILE
from ..evaluate.metrics import BY_NAME

_COLUMNS = 100
# The most pages, and models of a run without a submission.
_MOST = 3
_Z = 1.96  # half the width of a 95 % interval, in standard errors
# Metrics that trainings of every family write.
_OF_TRAININGS = ("auc", "logloss")


def outcome(results: Path, started: float, metric: str, report: str, *, refit: bool) -> list[str]:
    """Lines on what is newer than `started` in `results`: submissions, models and pages.

    A submission has its rows, odds, models and weights, and a line of how good it is by validation
    rows, by the `metric` of this name; with `refit`, of its models before that. A summary has its
    first line. Without both, each model has a line. `report` is the command that shows the pages in
    a browser. A file that is damaged or lacks facts is left out.
    """
    lines: list[str] = []
    for path in _newer(results.glob("submission_*.json"), started):
        with suppress(OSError, UserError, KeyError, TypeError):
            lines += _submission(results, path, metric, refit)
    summary = results / "summary.md"
    if _newer([summary], started):
        lines.append(summary.read_text(encoding="utf-8").split("\n", 1)[0].replace("**", ""))
    if not lines:
        folders = [path.parent for path in _newer(results.glob("*/*/training.json"), started)]
        measured = [path.parent for path in _newer(results.glob("*/*/metrics.json"), started)]
        for folder in list(dict.fromkeys([*measured, *folders]))[:_MOST]:
            if score := _score(folder, metric):
                lines.append(f"{folder}: {score}")
    pages = [summary, *results.glob("*/data.md")]
    if shown := [str(page) for page in _newer(pages, started)][:_MOST]:
        lines.append(f"see {', '.join(shown)}; report: {report}")
    return [wrapped for line in lines for wrapped in _wrapped(line)]


def _submission(results: Path, path: Path, metric: str, refit: bool) -> Iterator[str]:
    about = read_json(path)
    folders = [results / name for name in about["models"]]
    weights = [f" ({weight:.2g})" if len(folders) > 1 else "" for weight in about["weights"]]
    models = " + ".join(f"{folder.name}{weight}" for folder, weight in zip(folders, weights))
    data = ", SIMULATED" if about["simulated_data"] else ""
    csv = path.with_suffix(".csv")
    yield f"{csv}: {about['rows']:,} rows, {about['prior']} odds: {models}{data}"
    blend = folders[0].with_name(BLEND)
    # A blend that is older, or has other weights, is not the one that was submitted.
    newest = max(_time(folder / MODEL_FILE) for folder in folders)
    with suppress(OSError, UserError, KeyError):
        blended = read_json(blend / "training.json")["settings"]
        given = dict(zip((folder.name for folder in folders), about["weights"]))
        if blended == given and _time(blend / "training.json") >= newest and _score(blend, metric):
            folders = [blend]
    scores = {folder.name: _score(folder, metric) for folder in folders}
    if known := [f"{name} {score}" for name, score in scores.items() if score]:
        yield f"on validation rows{', before the refit' if refit else ''}: {'; '.join(known)}"


def _score(folder: Path, metric: str) -> str:
    """How good a model or a blend is, by its metrics or by what its training saw; '' if unknown.

    A training of a single model may not know the metric, and then it has the AUC.
    """
    training, metrics = folder / "training.json", folder / "metrics.json"
    with suppress(OSError, UserError, KeyError, TypeError, ArithmeticError):
        is_new = folder.name != BLEND and _time(metrics) >= _time(training)
        content = read_json(metrics if is_new else training)
        if "valid_score" in content:
            metric, entry = content["metric"], content["valid_score"]
            clicks = entry["clicks"]
        elif "metrics" in content:
            entry, clicks = content["metrics"][metric], content["clicks"]
        else:
            metric = metric if metric in _OF_TRAININGS else "auc"
            entry = {"value": content[f"valid_{metric}"], "low": None, "high": None}
            clicks = content["valid_clicks"]
            if metric == "auc":
                entry = _about(entry["value"], clicks, content["valid_rows"] - clicks)
        heading, digits = BY_NAME[metric].heading, BY_NAME[metric].digits
        ends = [f"{end:.{digits - 1}f}" for end in (entry["low"], entry["high"]) if end is not None]
        interval = f" [{', '.join(ends)}]" if ends else ""
        return f"{heading} {entry['value']:.{digits}f}{interval}, {clicks:,} clicks"
    return ""


def _about(auc: float, clicks: int, others: int) -> dict[str, float | None]:
    """An AUC of so many clicks and other rows with an interval (Hanley & McNeil 1982).

    There is none with few clicks. Where the rows have chosen the weights, it is a little too high.
    """
    if min(clicks, others) < FEW_CLICKS:
        return {"value": auc, "low": None, "high": None}
    pairs = (clicks - 1) * (auc / (2 - auc) - auc**2)
    pairs += (others - 1) * (2 * auc**2 / (1 + auc) - auc**2)
    half = _Z * math.sqrt((auc * (1 - auc) + pairs) / (clicks * others))
    return {"value": auc, "low": max(0.0, auc - half), "high": min(1.0, auc + half)}


def _newer(paths: Iterable[Path], started: float) -> list[Path]:
    """The files that are there and newer than that time, the newest first."""
    times = {path: _time(path) for path in paths}
    return sorted((p for p in times if times[p] >= started), key=lambda p: -times[p])


def _time(path: Path) -> float:
    """The time of a file; that of one that is not there is before all others."""
    try:
        return path.stat().st_mtime
    except OSError:
        return -math.inf


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(
        line, _COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
