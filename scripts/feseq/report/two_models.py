"""Two models of one size beside each other: which is better, and whether that is chance."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..common.errors import UserError
from ..common.files import read_json, written_beside
from ..config.names import check_name, folder_name
from ..evaluate.auc import LEAST_CLICKS, SIGNIFICANCE, Auc, Entry, difference_entry
from ..evaluate.blend import ahead_of
from ..evaluate.valid_predictions import read_predictions

logger = logging.getLogger(__name__)

_COSTS = {
    "train_rows": "train rows",
    "epochs": "epochs",
    "seconds": "seconds of training",
    "samples_per_second": "rows trained per second",
    "parameters": "parameters",
    "peak_memory_bytes": "bytes of memory",
    "device": "device",
}
_LEFT_OUT = (
    "The test knows the chance in the rows, not that in a training: another `train.seed` moves the "
    "figures too. A variant with another seed, compared in the same way, says how far."
)


def write_two_models(first: Path, other: Path, page: Path, *, resamples: int) -> None:
    """Write a page (Markdown) that compares two models, and what it finds to the log.

    Each is given by its metrics.json, with the files of its model beside it. The AUCs are compared
    by DeLong's test, other figures by a bootstrap of both models' rows together. Raises UserError
    unless both were measured on the same rows.
    """
    paths = (first, other)
    figures = [read_json(path) for path in paths]
    for path, found in zip(paths, figures):
        check_name(path, found.get("full_name", ""), folder_name(path))
    names = [folder_name(path).partition("/")[2] for path in paths]
    label, logits = _predictions(first, other)
    auc = difference_entry(*Auc.of(label, logits[1]).minus(Auc.of(label, logits[0])))
    verdict = _verdict(names, auc, label)
    resamples = resamples if figures[0]["enough_clicks"] else 0
    ahead = ahead_of(logits[1], logits[0], label, 0.0, resamples)
    ahead["auc"] = {name: auc[name] for name in ("value", "low", "high")}
    training = [read_json(path.with_name("training.json")) for path in paths]
    parts = [f"# {names[1]} beside {names[0]}, size {folder_name(first).partition('/')[0]}\n"]
    if figures[0]["simulated_data"]:
        parts.append("**SIMULATED DATA.** These figures say nothing of real clicks.\n")
    parts += [f"{verdict}\n", _LEFT_OUT, ""]
    metrics = [found["metrics"] for found in figures]
    rows = [(n, *(_shown(m[n]) for m in metrics), _shown(ahead.get(n))) for n in metrics[0]]
    parts += _table(("figure", *names, f"{names[1]} better by"), rows)
    settings = [found.get("settings", {}) for found in training]
    parts += ["## Settings that differ\n", *_table(("setting", *names), _differing(settings))]
    costs = [(text, *(str(t.get(key, "")) for t in training)) for key, text in _COSTS.items()]
    parts += ["## Costs\n", *_table(("", *names), costs)]
    with written_beside(page) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    logger.info("%s: %s", page, verdict.replace("**", ""))


def _predictions(first: Path, other: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """The labels of the rows that judge, and both models' logits."""
    one, two = (
        read_predictions(path.with_name("valid_predictions.parquet"), full_name=folder_name(path))
        for path in (first, other)
    )
    if not one["row"].equals(two["row"]):
        raise UserError(
            f"{first} and {other} were measured on other rows; delete both, and the predictions "
            f"beside them, and run the same command again"
        )
    return one["label"].to_numpy(), [table["logit"].to_numpy() for table in (one, two)]


def _verdict(names: list[str], auc: Entry, label: np.ndarray) -> str:
    """Which of the two is better, in one sentence or two."""
    clicks = f"{int(label.sum()):,} clicks in {len(label):,} rows"
    chance, value = auc["chance"], auc["value"]
    if chance is None or value is None:
        return (
            f"**Too few clicks to tell.** There are {clicks}; with fewer than {LEAST_CLICKS}, or "
            f"as few others, no model is called better. Compare on a larger size."
        )
    apart = f"{_shown(_absolute(auc))} (p = {chance:.2g}, "
    apart += f"DeLong's test, {clicks})"
    if chance >= SIGNIFICANCE:
        return f"**These rows do not tell them apart.** The AUCs differ by {apart}."
    better, worse = names[::-1] if value > 0 else names
    return f"**{better} is better than {worse}.** Its AUC is higher by {apart}."


def _absolute(entry: Entry) -> Entry:
    """A difference, turned so that it is positive."""
    value, low, high = (entry[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None or value >= 0:
        return {"value": value, "low": low, "high": high}
    return {"value": -value, "low": -high, "high": -low}


def _shown(entry: Entry | None) -> str:
    if entry is None or entry["value"] is None:
        return ""
    if entry["low"] is None:
        return f"{entry['value']:.5f}"
    return f"{entry['value']:.5f} [{entry['low']:.5f}, {entry['high']:.5f}]"


def _differing(settings: list[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    one, other = settings
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return [(f"`{key}`", str(one.get(key, "")), str(other.get(key, ""))) for key in keys]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
