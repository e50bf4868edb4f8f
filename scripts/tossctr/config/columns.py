"""The roles of a click table's columns."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..common.errors import UserError

RANGE = re.compile(r"^(?P<head>.*)\{(?P<first>\d{1,18})\.\.(?P<last>\d{1,18})\}(?P<tail>.*)$")
# The character between the tokens of a sequence in text.
Separator = Literal[",", ";", "|", " "]
SEPARATORS: tuple[Separator, ...] = get_args(Separator)
# A longer range is a typo, whose names would fill the memory.
_MAX_IN_RANGE = 100_000


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of the columns that models read, by role.

    label         the click, 0 or 1; '' if nothing reads it
    id            the row's ID; '' if nothing reads it
    profile       categories that a network reads with each event of the history
    context       categories that a network reads once per row
    numeric       numbers
    ids           the numeric columns that a network also reads as context categories
    sequences     the histories: sequences of events, the newest last
    targets       for each sequence, the column of the item to compare with its events
    shared        the sequences that share the vocabulary of their target
    event_time    the sequence of the events' times, or None
    row_time      the column of the row's time; None if there is no `event_time`
    separator     the character between the tokens of a sequence in text
    """

    label: str = ""
    id: str = ""
    profile: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    event_time: str | None = None
    row_time: str | None = None
    shared: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    separator: str = SEPARATORS[0]

    @property
    def categorical(self) -> tuple[str, ...]:
        """The profile, target and context columns, in this order."""
        return self.profile + self.targets + self.context

    @property
    def sequence_columns(self) -> tuple[str, ...]:
        """The sequences, and then the column of the events' times, if there is one."""
        return self.sequences + ((self.event_time,) if self.event_time else ())

    @property
    def features(self) -> tuple[str, ...]:
        """All input columns of the model."""
        times = (self.row_time,) if self.row_time else ()
        return self.categorical + self.numeric + self.sequence_columns + times

    def to_dict(self, *extra: str) -> dict[str, Any]:
        """The columns by role, for JSON; `label`, `id`, `shared` and `ids` only if in `extra`."""
        names = ("profile", "numeric", "sequences", "targets", "context", "event_time", "row_time")
        return {name: getattr(self, name) for name in (*names, "separator", *extra)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Columns":
        """Read the block `columns` of the table file; raises UserError if it contradicts itself."""
        if unknown := [name for name in config["use"] if name not in config["groups"]]:
            known = ", ".join(config["groups"])
            raise UserError(f"columns.use: unknown group {unknown[0]!r}; the groups are {known}")
        used = {name: config["groups"][name] for name in config["use"]}
        id_column = config.get("id") or ""
        profile, numeric, context, shared = (
            expand_ranges(name for group in used.values() for name in group.get(role, []))
            for role in ("profile", "numeric", "context", "share_embedding")
        )
        sequences, times = (
            [pair for group in used.values() for pair in group.get(role, {}).items()]
            for role in ("sequences", "times")
        )
        separators = {
            name: group.get("separator", SEPARATORS[0])
            for name, group in used.items()
            if group.get("sequences") or group.get("times")
        }
        _check_histories(sequences, times, separators, shared)
        pairs = [name for pair in (*sequences, *times) for name in pair]
        context_only = [name for name in context if name not in numeric]
        if not (features := [*profile, *numeric, *pairs, *context_only]):
            raise UserError("columns.use: the groups in use have no columns; add some to a group")
        roles = Counter([config["label"], id_column, *features]) | Counter(context)
        if twice := [name for name, count in roles.items() if count > 1]:
            raise UserError(
                f"columns with several roles: {', '.join(map(repr, twice))}; use each "
                f"only once: as the label, as the ID, or in one of the groups in `columns.use`"
            )
        event_time, row_time = times[0] if times else (None, None)
        return cls(
            label=config["label"],
            id=id_column,
            profile=tuple(profile),
            numeric=tuple(numeric),
            sequences=tuple(name for name, _ in sequences),
            targets=tuple(target for _, target in sequences),
            event_time=event_time,
            row_time=row_time,
            shared=tuple(name for name, _ in sequences if name in shared),
            context=tuple(context_only),
            ids=tuple(name for name in context if name in numeric),
            separator=next(iter(separators.values()), SEPARATORS[0]),
        )


def _check_histories(
    sequences: Sequence[tuple[str, str]],
    times: Sequence[tuple[str, str]],
    separators: Mapping[str, str],
    shared: Sequence[str],
) -> None:
    """Raise UserError if sequences, times and separators of the groups are inconsistent."""
    if times and not sequences:
        raise UserError(
            f"columns: the groups in use have `times`, {times}, but no `sequences`; add a sequence"
        )
    if len(times) > 1:
        raise UserError(
            f"columns: the groups in use have several pairs in `times`, {times}; keep one pair "
            f"(event times: row's time)"
        )
    if len({*separators.values()}) > 1:
        raise UserError(
            f"columns: the groups in use have different separators, {separators}; give all the "
            f"same `separator`"
        )
    if unknown := {*shared}.difference(name for name, _ in sequences):
        raise UserError(
            f"columns: `share_embedding` has {min(unknown)!r}, which no group in `columns.use` has "
            f"as a sequence; remove it from `share_embedding`, or add it to `sequences`"
        )


def expand_ranges(names: Iterable[str]) -> list[str]:
    """Expand ranges in column names: `f_{1..3}` becomes f_1, f_2, f_3.

    Leading zeros stay: `f_{08..10}` becomes f_08, f_09, f_10. Raises UserError if a range descends
    or is too long.
    """
    expanded = []
    for name in names:
        match = RANGE.match(name)
        if match is None:
            expanded.append(name)
            continue
        first, last = int(match["first"]), int(match["last"])
        if not 0 <= last - first < _MAX_IN_RANGE:
            raise UserError(
                f"columns.groups: the range in {name!r} must ascend, "
                f"and have at most {_MAX_IN_RANGE:,} columns"
            )
        width = len(match["first"]) if match["first"][0] == "0" else 0
        numbers = (f"{i:0{width}}" for i in range(first, last + 1))
        expanded += [f"{match['head']}{number}{match['tail']}" for number in numbers]
    return expanded
