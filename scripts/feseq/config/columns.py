"""Which column of a click table plays which role."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..common.errors import UserError

RANGE = re.compile(r"^(?P<head>.*)\{(?P<first>\d{1,18})\.\.(?P<last>\d{1,18})\}(?P<tail>.*)$")
# A name that ends in a number as `expand` writes it, without zeros before it.
_NUMBERED = re.compile(r"(.*?)(?<!\d)(0|[1-9]\d{0,17})")
# What joins the tokens of a sequence in text.
Separator = Literal[",", ";", "|", " "]
SEPARATORS: tuple[Separator, ...] = get_args(Separator)
# A longer range is a typing error, and would fill the memory with names.
_MOST_IN_RANGE = 100_000


@dataclass(frozen=True)
class Columns:
    """Roles of the columns in use.

    `sequences[i]` is the history whose candidate item is `targets[i]`; those in `shared` count in
    the same items as their target. `context` are categories for the output network alone, and `ids`
    numeric columns whose values are such categories as well. A table with times has both
    `event_time`, of each event, and `row_time`. `separator` joins the tokens of sequences in text.
    """

    label: str
    id: str
    profile: tuple[str, ...]
    numeric: tuple[str, ...]
    sequences: tuple[str, ...]
    targets: tuple[str, ...]
    event_time: str | None = None
    row_time: str | None = None
    shared: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    separator: str = SEPARATORS[0]

    @property
    def categorical(self) -> tuple[str, ...]:
        """Profile, target, then context columns: the order of `categorical` in H5."""
        return self.profile + self.targets + self.context

    @property
    def ragged(self) -> tuple[str, ...]:
        """Sequences, then the events' times: the order of `sequence_columns` in H5."""
        return self.sequences + ((self.event_time,) if self.event_time else ())

    @property
    def features(self) -> tuple[str, ...]:
        """Every input column of the model."""
        times = (self.row_time,) if self.row_time else ()
        return self.categorical + self.numeric + self.ragged + times

    def plain(self, *others: str) -> dict[str, Any]:
        """The roles of the features, and those of `label`, `id`, `shared`, `ids` named, for JSON.

        Roles that few tables have are left out if no column takes them, and so is a comma as the
        separator.
        """
        names = ("profile", "numeric", "sequences", "targets")
        roles: dict[str, Any] = {name: list(getattr(self, name)) for name in names}
        few = ("context", "event_time", "row_time", *others)
        optional = {name: getattr(self, name) for name in few}
        optional["separator"] = self.separator if self.separator != SEPARATORS[0] else ""
        return roles | {name: value for name, value in optional.items() if value}

    @classmethod
    def from_values(cls, roles: Mapping[str, Any], _: str = "") -> "Columns":
        """The opposite of `plain`; a label or ID that was left out reads ''."""
        columns: dict[str, Any] = {
            role: tuple(v) if isinstance(v, list) else v for role, v in roles.items()
        }
        return cls(**{"label": "", "id": ""} | columns)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Columns":
        """Read the `columns` block of the config; raises UserError where roles contradict."""
        profile: list[str] = []
        context: dict[str, list[str]] = {}
        numeric: list[str] = []
        sequences: dict[str, str] = {}
        times: dict[str, str] = {}
        shared: list[str] = []
        separators: dict[str, str] = {}
        group_of: dict[str, str] = {}
        not_features = {config["label"], config["id"]}
        _check_names(config)
        for group in config["use"]:
            roles = config["groups"][group]
            group_profile, group_numeric, context[group] = (
                expand(roles.get(role) or []) for role in ("profile", "numeric", "context")
            )
            group_sequences, group_times = (
                dict(roles.get(role) or {}) for role in ("sequences", "times")
            )
            profile, numeric = profile + group_profile, numeric + group_numeric
            sequences |= group_sequences
            times |= group_times
            if group_sequences or group_times:
                separators[roles.get("separator") or SEPARATORS[0]] = group
            shared += _shared(roles.get("share_embedding") or [], group_sequences, group)
            named = [*group_profile, *group_numeric]
            for pairs in (group_sequences, group_times):
                named += [*pairs, *pairs.values()]
            _claim(named, group, group_of, not_features)
        if not group_of and not any(context.values()):
            raise UserError("columns.use: the groups in use name no column; add some to a group")
        _check_sequences(sequences, times, separators)
        ids: dict[str, str] = {}
        for group, names in context.items():
            _claim([name for name in names if name not in numeric], group, group_of, not_features)
            _claim([name for name in names if name in numeric], group, ids, not_features)
        event_time, row_time = next(iter(times.items()), (None, None))
        return cls(
            label=config["label"],
            id=config["id"],
            profile=tuple(profile),
            numeric=tuple(numeric),
            sequences=tuple(sequences),
            targets=tuple(sequences.values()),
            event_time=event_time,
            row_time=row_time,
            shared=tuple(shared),
            context=tuple(name for names in context.values() for name in names if name not in ids),
            ids=tuple(ids),
            separator=next(iter(separators), SEPARATORS[0]),
        )


def described(roles: Mapping[str, Any]) -> dict[str, str]:
    """The roles of each column as a text, from the `roles` that `Columns.plain` gives."""
    roles_of: dict[str, list[str]] = {}
    for role, names in roles.items():
        if role == "separator":
            continue
        for name in [names] if isinstance(names, str) else names:
            roles_of.setdefault(name, []).append(role)
    return {name: ", ".join(listed) for name, listed in roles_of.items()}


def expand(names: Iterable[str]) -> list[str]:
    """Write out ranges: `f_{1..3}` becomes f_1, f_2, f_3, and `f_{08..10}` f_08, f_09, f_10."""
    expanded = []
    for name in names:
        match = RANGE.match(name)
        if match is None:
            expanded.append(name)
            continue
        first, last = int(match["first"]), int(match["last"])
        if not 0 <= last - first < _MOST_IN_RANGE:
            raise UserError(
                f"columns.groups: the range in {name!r} goes from the lower number to the higher, "
                f"and has {_MOST_IN_RANGE:,} columns at most; correct it"
            )
        width = len(match["first"]) if match["first"][0] == "0" else 0
        numbers = (f"{i:0{width}}" for i in range(first, last + 1))
        expanded += [f"{match['head']}{number}{match['tail']}" for number in numbers]
    return expanded


def in_ranges(names: Iterable[str]) -> list[str]:
    """The opposite of `expand`: neighbours whose last number rises by one become a range."""
    runs: list[tuple[str, int, int]] = []
    for name in names:
        numbered = _NUMBERED.fullmatch(name)
        head, number = (numbered[1], int(numbered[2])) if numbered else (name, -1)
        if runs and numbered and (runs[-1][0], runs[-1][2]) == (head, number - 1):
            runs[-1] = (head, runs[-1][1], number)
        else:
            runs.append((head, number, number))
    return [
        f"{head}{{{first}..{last}}}" if first < last else head if last < 0 else f"{head}{last}"
        for head, first, last in runs
    ]


def _check_sequences(
    sequences: Mapping[str, str], times: Mapping[str, str], separators: Mapping[str, str]
) -> None:
    """Raise UserError if times have no sequence, or there are several pairs or separators."""
    if times and not sequences:
        raise UserError(
            f"columns: the groups in use have times, {times}, and no sequence whose events "
            f"these are of: add sequences: {{<sequence column>: <target column>}}, or leave "
            f"times out"
        )
    if len(times) > 1:
        raise UserError(
            f"columns: the groups in use have {len(times)} pairs of times, {times}; an event "
            f"has one time: keep one pair"
        )
    if len(separators) > 1:
        listed = ", ".join(f"{group} {text!r}" for text, group in separators.items())
        raise UserError(
            f"columns: the sequences of the groups in use have several separators ({listed}); "
            f"a table has one: write their text with the same one"
        )


def _check_names(config: Mapping[str, Any]) -> None:
    """Raise UserError unless label and ID differ, and each group in use is known."""
    if config["label"] == config["id"]:
        raise UserError(f"columns.label and columns.id both name {config['id']!r}")
    for group in config["use"]:
        if group not in config["groups"]:
            known = ", ".join(config["groups"])
            raise UserError(f"columns.use: there is no group {group!r}; groups are {known}")


def _shared(names: list[str], sequences: Mapping[str, str], group: str) -> list[str]:
    """The group's sequences that are in `names`."""
    unknown = [name for name in names if name not in sequences]
    if unknown:
        raise UserError(
            f"columns.groups.{group}.share_embedding: {unknown[0]!r} is not among the "
            f"group's sequences ({', '.join(sequences) or 'there are none'}); name some of these"
        )
    return [name for name in sequences if name in names]


def _claim(names: list[str], group: str, group_of: dict[str, str], taken: set[str]) -> None:
    """Give each name to `group`; raises UserError if a column has a role already."""
    for name in names:
        if name in taken:
            raise UserError(
                f"columns.groups.{group}: {name!r} is the label or the ID, not a feature"
            )
        if name in group_of:
            raise UserError(
                f"columns.groups.{group}: {name!r} has a second role "
                f"(first in group {group_of[name]!r}); a column has exactly one"
            )
        group_of[name] = group
