"""The expected time of trainings: the family's guess, scaled by what was timed here."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import UserError
from ..common.files import read_json
from ..config.names import VARIANT, Settings
from .base import Family, Work

# The share of clicks among rows that nothing is known of.
GUESSED_CLICK_RATE = 0.02
# A training of fewer seconds is mostly its start, and tells nothing of longer ones.
_LEAST = 20
# Settings that do not change the time per row.
_FREE = {"seed", "negative_share", "start_from", "monitor"}


class Expected(NamedTuple):
    """Seconds of a training on some cores; `by` is the folder of a timed one, None in a guess."""

    seconds: float
    cores: int
    by: Path | None


def expected_time(
    results: Path, model: str, family: Family, settings: Settings, work: Work, device: str
) -> Expected | None:
    """About how long a training takes; None if nothing is known.

    The family's guess is multiplied by how much longer than guessed a training of the family took
    that is in `results`: one with the same settings if there is one, and the longest of several. It
    must have run on the same `device`; for a GPU there is no other guess. It assumes the same
    machine without other jobs, and ignores early stopping.
    """
    guess = family.training_seconds(settings, work)
    timed = []
    for path in results.glob("*/*/training.json"):
        if not re.fullmatch(family.pattern + VARIANT, path.parent.name):
            continue
        # Unreadable files are skipped; the job that needs one reports it.
        with suppress(OSError, UserError, KeyError, TypeError, ValueError, ArithmeticError):
            training = read_json(path)
            if training["device"] == device and training["seconds"] >= _LEAST:
                is_same = path.parent.name == model and _same(settings, training["settings"])
                scale = training["seconds"] / _guess(family, settings, training, work)
                timed.append((is_same, training["seconds"], path, scale))
    if timed:
        is_same, _, path, scale = max(timed)
        if is_same or guess is not None:
            seconds = scale * (work.rows if guess is None else guess)
            return Expected(seconds, work.cores, path.parent)
    return None if guess is None or device != "cpu" else Expected(guess, work.cores, None)


def known_facts(results: Path) -> tuple[float | None, float | None]:
    """The click rate and the mean length of a history, by a data.json in `results`, if any."""
    for path in results.glob("*/data.json"):
        with suppress(OSError, UserError, KeyError, TypeError, ArithmeticError):
            facts = read_json(path)
            rate = facts["clicks"]["train"] / facts["rows"]["train"]
            lengths = [sequence["mean"]["train"] for sequence in facts["sequences"]]
            return rate, max(lengths, default=0.0)
    return None, None


def _same(settings: Settings, others: dict[str, Any]) -> bool:
    """True for settings that take the same time per row."""
    known = {key: value for block in settings.values() for key, value in block.items()}
    return all(others[key] == known[key] for key in known if key not in _FREE)


def _guess(family: Family, settings: Settings, training: dict[str, Any], work: Work) -> float:
    """The family's guess of a training that was timed, from its training.json."""
    known = training["settings"]
    used = {name: {key: known[key] for key in block} for name, block in settings.items()}
    done = replace(
        work,
        rows=training["train_rows"],
        valid_rows=training["valid_rows"],
        cores=training.get("threads", work.cores),
        click_rate=training["click_rate"],
        refit=False,
    )
    guess = family.training_seconds(used, done)
    return done.rows if guess is None else guess


def time_text(expected: Iterable[Expected | None]) -> str:
    """The time of trainings, one after the other; '' without any, or where one is unknown."""
    known = list(expected)
    if not known or None in known:
        return ""
    seconds, cores, by = zip(*(each for each in known if each))
    on = f"{max(cores)} core{'s' if max(cores) > 1 else ''}"
    basis = ", a guess" if None in by else f" by {by[0]}" if len(by) == 1 else ""
    return f"about {about(sum(seconds))} on {on}{basis}"


def about(seconds: float) -> str:
    """Seconds, minutes or hours, as exact as an estimate is."""
    for unit, length, most in (("s", 1, 90), ("min", 60, 90), ("hours", 3_600, 48)):
        if seconds < most * length:
            value = seconds / length
            return f"{max(1, round(value))} {unit}" if unit != "hours" else f"{value:.1f} {unit}"
    return f"{seconds / 86_400:.0f} days"
