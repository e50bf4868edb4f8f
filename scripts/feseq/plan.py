"""A plan as a table: for each step whether it is stale and why, its rows and its expected time."""

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .estimate import Estimate, estimate

WIDTH = 100
_HEAD = ("step", "of", "state", "rows", "time", "why")
# The reason of predictions whose shards are known only after the conversion of the test file.
WAIT = "after convert_test"


@dataclass(frozen=True)
class Step:
    """A job of the plan, or the shards of one prediction that share their reasons.

    `reasons` are empty for a fresh step. `runs` are its jobs' first outputs and benchmark files,
    made or not; None for a rule that is not timed.
    """

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    rows: int | None = None
    runs: tuple[tuple[Path, Path], ...] | None = None
    jobs: int = 1


def merge_shards(steps: Iterable[Step]) -> list[Step]:
    """Steps that differ in nothing but their shard as one, in the place of the first."""
    merged: dict[Any, list[Step]] = {}
    for step in steps:
        same = {**step.wildcards, "shard": ""} if "shard" in step.wildcards else id(step)
        merged.setdefault((step.rule, str(same), step.reasons), []).append(step)
    return [
        replace(
            group[0],
            wildcards={k: v for k, v in group[0].wildcards.items() if k != "shard"},
            runs=None if group[0].runs is None else sum((s.runs or () for s in group), ()),
            rows=None if group[0].rows is None else sum(s.rows or 0 for s in group),
            jobs=len(group),
        )
        for group in merged.values()
    ]


def changes(old: Iterable[str], new: Iterable[str]) -> list[str]:
    """What changed in a step's params: settings with both values, code by its module.

    The params are `name=value`, value in JSON, or `path@digest`, each perhaps as a literal.
    """
    before, now = _read_params(old), _read_params(new)
    code, settings = [], []
    # Steps before tell what `upstream` sums up.
    for name in sorted((before.keys() | now.keys()) - {"upstream"}):
        if name.startswith("@"):
            code.append(name.removeprefix("@").removeprefix("feseq/"))
        elif name == "raw_version":
            settings.append("raw file replaced")
        elif name not in now:
            settings.append(f"{name}: {_short(before[name])} left out")
        elif name not in before:
            settings.append(f"{name}: now {_short(now[name])}")
        else:
            settings.append(f"{name}: {_difference(before[name], now[name])}")
    return settings + ([f"code: {_first(code)}"] if code else [])


def files(what: str, paths: Iterable[str]) -> list[str]:
    """`what: model.pt +2`: the name of the first file, and how many more."""
    names = sorted({Path(path).name for path in paths})
    return [f"{what}: {_first(names)}"] if names else []


def shorten(reasons: Sequence[str], width: int) -> str:
    """As many reasons as fit into `width` characters, then how many more."""
    for count in range(len(reasons), 0, -1):
        left = len(reasons) - count
        text = "; ".join(reasons[:count]) + (f" +{left}" if left else "")
        if len(text) <= width:
            return text
    return _cut(reasons[0], width) if reasons else ""


def table(steps: Iterable[Step]) -> str:
    """The steps with their rows and times, aligned, and a line with totals."""
    lines = [(step, estimate(step.rule, step.rows, step.runs or (), step.jobs)) for step in steps]
    cells = [_HEAD, *(_cells(*line) for line in lines)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
    room = WIDTH - sum(widths[:5]) - 2 * 5
    text = []
    for i, row in enumerate(cells):
        why = shorten(lines[i - 1][0].reasons, room) if i else row[5]
        left = [row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].ljust(widths[2])]
        right = [row[3].rjust(widths[3]), row[4].rjust(widths[4]), why]
        text.append("  ".join(left + right).rstrip())
    return "\n".join([*text, "", totals(lines)])


def totals(lines: Sequence[tuple[Step, Estimate]]) -> str:
    """`3 of 9 steps to do, about 4 min by earlier runs (1 step never timed)`."""
    stale = [(step, time_of) for step, time_of in lines if step.reasons]
    jobs, todo = sum(step.jobs for step, _ in lines), sum(step.jobs for step, _ in stale)
    if not stale:
        return f"nothing to do: {'the step is' if jobs == 1 else f'all {jobs} steps are'} fresh"
    text = f"{todo} of {_steps(jobs)} to do"
    seconds = [time_of.seconds for _, time_of in stale if time_of.seconds is not None]
    untimed = sum(s.jobs for s, t in stale if t.seconds is None and s.runs is not None)
    notes = ["~ scaled by rows"] if any(time_of.scaled for _, time_of in stale) else []
    notes += [f"{_steps(untimed)} never timed"] if untimed and seconds else []
    text += f", about {as_time(sum(seconds))} by earlier runs" if seconds else ", none timed yet"
    text += f" ({'; '.join(notes)})" if notes else ""
    if any(step.reasons == (WAIT,) for step, _ in stale):
        text += f"\npredict has one step a shard; how many is known {WAIT}"
    return text


def as_time(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if seconds < 1:
        return "<1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _cells(step: Step, time_of: Estimate) -> tuple[str, ...]:
    time = "-" if time_of.seconds is None else as_time(time_of.seconds)
    time = f"~{time}" if time_of.scaled else time
    of = list(step.wildcards.values())
    of += [f"{step.jobs} shards"] if step.jobs > 1 else []
    return (
        step.rule,
        " ".join(of),
        "stale" if step.reasons else "fresh",
        "-" if step.rows is None else f"{step.rows:,}",
        time if step.reasons else "",
        "",
    )


def _read_params(params: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for param in params:
        text = _literal(param)
        is_code = "@" in text.split("=")[0]
        name, _, value = text.partition("@" if is_code else "=")
        name = f"@{name}" if is_code else name
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _literal(param: str) -> str:
    try:
        return str(ast.literal_eval(param))
    except (ValueError, SyntaxError):
        return str(param)


def _difference(before: Any, now: Any) -> str:
    """Of two lists or mappings what left and what came, else both values."""
    if isinstance(before, list | dict) and type(before) is type(now):
        left = [f"-{_short(value)}" for value in before if value not in now]
        came = [f"+{_short(value)}" for value in now if value not in before]
        if left or came:
            return _cut(" ".join(left + came), 40)
    return f"{_short(before)} -> {_short(now)}"


def _short(value: Any) -> str:
    return _cut(value if isinstance(value, str) else json.dumps(value), 20)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


def _first(names: Sequence[str]) -> str:
    return names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "")


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
