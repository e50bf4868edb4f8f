"""A first table file: roles of a table's columns, guessed from types, names and some rows."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..common.errors import UserError
from ..common.files import Output, written_beside
from ..config.columns import RANGE, SEPARATORS, Columns
from ..raw.location import Location, TableLocation
from ..raw.reading import RawTable
from ..raw.source import RawFiles
from .first_rows import GROUPS, IDS, LABELS, ROWS, Column, first_columns
from .histories import is_history, match
from .table_file import Place, as_yaml, scalar

# The only group of the table file.
_GROUP = "all"
_IN_GROUP: Place = ("columns", "groups", _GROUP)
# Profile columns cost at every position; further categories go to the output network alone.
_MOST_IN_PROFILE, _LARGEST_PROFILE = 4, 1_000
# A text with more different values than this share of its rows is an ID or free text.
_UNIQUE = 0.5
# A column of integers with more distinct values is hardly one of levels.
_MOST_LEVELS = 256
_ORDER = ("profile", "context", "sequences", "times", "share_embedding", "numeric")
_POINT = "a point in time, and later rows have others"
_BY_NAME = "by its name alone: the history has hardly any of its values"
# Columns of the table that config/toss.yaml describes.
_TOSS = {"clicked", "seq", "inventory_id", "l_feat_1"}
# What may separate the values of a CSV file, beside a comma.
_DELIMITERS = (";", "\t", "|")
_LEFT_OUT = "is left out:"
# Columns in a remark.
_MOST_NAMED = 3


@dataclass
class _Guess:
    """Roles of columns; why others are left out; and remarks on lines of the table file."""

    roles: dict[str, list[str] | dict[str, str]] = field(default_factory=dict)
    separator: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    remarks: dict[Place, str] = field(default_factory=dict)


def suggest_columns(
    train: list[str],
    output: Output,
    *,
    test: list[str] | None = None,
    sample_submission: str | None = None,
) -> str:
    """Write `suggested` of the files to `output`; returns what to do next."""
    text = suggested(train, test, sample_submission)
    with written_beside(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    table = shlex.quote(f"table={output}")
    left_out = "".join(f"  {line[2:]}\n" for line in text.splitlines() if _LEFT_OUT in line)
    return (
        f"{left_out}{output} is written: look through it, above all where it says 'or'. Next come "
        f"the page of what the rows look like, and all the rest (README.md):\n"
        f"    snakemake --cores 4 results/toy/data.md --config {table}\n"
        f"    snakemake --cores 4 --config {table}"
    )


def suggested(
    train: list[str], test: list[str] | None = None, sample_submission: str | None = None
) -> str:
    """A table file for a train table and, if there is one, its test table, with remarks.

    All is guessed from the first ROWS rows. Raises UserError if there is no label, no ID in the
    test table, or nothing to learn from.
    """
    delimiter = _delimiter(train)
    locations = TableLocation(train, delimiter), TableLocation(test, delimiter) if test else None
    tables = RawTable(locations[0]), RawTable(locations[1]) if locations[1] else None
    has_one = tables[1] is not None and len(tables[1].schema_arrow.names) == 1
    if test and has_one and _delimiter(test) != delimiter:
        raise UserError(
            f"{locations[1]}: its values are not separated by the character of the train file, "
            f"{delimiter or ','!r}; write both alike"
        )
    columns, test_columns = first_columns(*tables)
    in_test = {column.name: column for column in test_columns}
    label, others = _label(columns, in_test if test else {})
    identity = _identity(columns, test_columns if test else None, label.name)
    features = [c for c in columns if c.name not in (label.name, identity)]
    time, group = _time_of_row(features), _group(features)
    labels = others if label.named(LABELS) else []
    guess = _guess(features, in_test, time, group, labels)
    for table in filter(None, tables):
        why = f"not all files of {table.location} have it"
        guess.left_out |= dict.fromkeys(sorted(table.partial), why)
        guess.left_out |= table.unusable
    if not guess.roles:
        why = "\n  ".join(["", *_why(guess)])
        raise UserError(f"no column of the train file can be learned from; add one:{why}")
    block: dict[str, Any] = {"label": label.name, "id": identity}
    block |= {role: c.name for role, c in (("time", time), ("group", group)) if c}
    separator = {"separator": guess.separator} if guess.separator not in ("", SEPARATORS[0]) else {}
    block |= {"use": [_GROUP], "groups": {_GROUP: guess.roles | separator}}
    # Raises an error if the columns cannot be used as suggested.
    sample = Location(sample_submission) if sample_submission else None
    RawFiles(*locations, sample).check(Columns.from_config(block))
    raw: dict[str, Any] = {"train": _one_or_more(train), "test": test and _one_or_more(test)}
    raw |= {"delimiter": delimiter} if delimiter is not None else {}
    raw |= {"sample_submission": sample_submission} if sample_submission else {}
    is_toss = {column.name for column in columns} >= _TOSS
    content = {"raw": raw, "columns": block, "score": "toss" if is_toss else "logloss"}
    remarks = _remarks(label, others, time, identity not in in_test)
    lines = [
        f"# Guessed from the first {len(label.values):,} rows: check all. Where it says 'or',",
        "# move the name if that is what the column is. config/README.md explains each role.",
        *(["# These are the columns that config/toss.yaml describes."] if is_toss else []),
        as_yaml(content, remarks | guess.remarks),
        *(f"# {line}" for line in _why(guess)),
    ]
    return "\n".join([*lines, ""])


def _delimiter(train: list[str]) -> str | None:
    """What separates the values of a CSV table: None for a comma, and for other formats.

    Raises UserError if the table cannot be read with any.
    """
    fault = None
    for delimiter in (None, *_DELIMITERS):
        try:
            if len(RawTable(TableLocation(train, delimiter)).schema_arrow.names) > 1:
                return delimiter
        except UserError as error:
            fault = fault or error
    if fault is not None:
        raise fault
    return None


def _why(guess: _Guess) -> Iterator[str]:
    for name, why in guess.left_out.items():
        yield f"{scalar(name)} {_LEFT_OUT} {why}"


def _one_or_more(files: list[str]) -> str | list[str]:
    return files[0] if len(files) == 1 else files


def _label(columns: Sequence[Column], in_test: Mapping[str, Column]) -> tuple[Column, list[str]]:
    """A column of 0 and 1, preferably one that is named like a label, and what else it could be.

    `in_test` are the columns of the test table, if there is one, which has no label.
    """
    # A test file may keep the label's column without values.
    filled = {name for name, column in in_test.items() if column.known}
    only_here = [c for c in columns if c.name not in filled] or [*columns]
    labels = [c for c in only_here if c.is_label]
    absent = [c for c in labels if c.name not in in_test]
    labels = [c for c in labels if c.named(LABELS)] or absent or labels
    if not labels:
        near = next((_content(c) for c in only_here if c.named(LABELS)), "")
        raise UserError(
            f"no column of the train file is a label: one with 0 and 1, true and false, or yes and "
            f"no, and nothing else in the first {ROWS:,} rows, that is not in a test file"
            f"{near and f' ({near})'}; add one, or write the table file by hand (config/README.md)"
        )
    return labels[0], [column.name for column in labels[1:]]


def _content(column: Column) -> str:
    """What a column has, for messages."""
    if not column.is_plain:
        return f"{column.name!r} is of type {column.kind}"
    words = column.words[:_MOST_NAMED].to_pylist()
    shown = ", ".join(map(repr, words)) + (", ..." if len(column.words) > len(words) else "")
    gaps = len(column.values) - column.known
    return f"{column.name!r} has {shown}, {len(column.words):,} values in {column.known:,} rows" + (
        f", and {gaps:,} rows without one" if gaps else ""
    )


def _identity(columns: Sequence[Column], test_columns: Sequence[Column] | None, label: str) -> str:
    """The ID column of the test table or, without one, a train column of IDs or a new name."""
    in_train = {column.name for column in columns}
    ids = [c for c in (columns if test_columns is None else test_columns) if c.is_unique]
    ids = [c for c in ids if c.name != label]
    if test_columns is None:
        ids = [c for c in ids if c.named(IDS) and not c.named(GROUPS)]
        free = [name for name in ("ID", "row_id", "row_id_of_test") if name not in in_train]
        return ids[0].name if ids else free[0]
    ids.sort(
        key=lambda c: (
            c.may_be_time,
            c.named(GROUPS) and c.name in in_train,
            not c.named(IDS),
            c.name in in_train,
        )
    )
    if not ids:
        near = next((_content(c) for c in test_columns if c.named(IDS)), "")
        raise UserError(
            f"no column of the test file has a different value in each row, as an ID has"
            f"{near and f' ({near})'}; add one"
        )
    return ids[0].name


def _time_of_row(features: Sequence[Column]) -> Column | None:
    """The column that tells when a row was, if there is one."""
    times = sorted(_points_in_time(features), key=lambda column: column.time_rank)
    return times[0] if times and not times[0].is_of_others else None


def _points_in_time(features: Sequence[Column]) -> list[Column]:
    # One value in all rows has no order; there may be others in the rows behind the first.
    return [c for c in features if c.is_time and (len(c.words) > 1 or len(c.values) == ROWS)]


def _group(features: Sequence[Column]) -> Column | None:
    """The column of users or the like; a user's sessions are of one user."""
    groups = [column for column in features if column.is_group]
    return min(groups, key=lambda column: column.named("session|visit"), default=None)


def _guess(
    features: Sequence[Column],
    in_test: Mapping[str, Column],
    time: Column | None,
    group: Column | None,
    labels: Sequence[str],
) -> _Guess:
    """The roles of the features. The time is none, and the group goes to the context.

    `labels` are features that may be labels.
    """
    guess = _Guess()
    plain = [column for column in features if column.is_plain]
    sequences = [column for column in features if is_history(column, plain)]
    times = [c for c in _points_in_time(features) if c not in sequences]
    for column in (column for column in features if column is not time):
        fault = _fault(column, in_test.get(column.name), column in sequences)
        if column in times and column.name in in_test:
            fault = f"{_POINT}; or columns.time"
        if fault:
            guess.left_out[column.name] = fault
    usable = [c for c in features if c.name not in guess.left_out and c is not time]
    others = [column for column in usable if column not in sequences]
    row_times = [c for c in times if c.kind in ("integer", "timestamp") and _is_alike(c, in_test)]
    row_times.sort(key=lambda column: column is not time)
    histories = match([c for c in usable if c in sequences], others, row_times)
    guess.left_out |= histories.left_out
    for name in histories.times.values():
        guess.left_out.pop(name, None)
    guess.separator = histories.separator
    others = [c for c in others if c.name not in histories.targets.values()]
    categories = [column for column in others if column.is_category]
    profile = [c for c in categories if len(c.words) <= _LARGEST_PROFILE and c is not group]
    profile = profile[:_MOST_IN_PROFILE]
    by_role = {
        "profile": profile,
        "context": [column for column in categories if column not in profile],
        "numeric": [column for column in others if not column.is_category],
    }
    for role, columns in by_role.items():
        for column in columns:
            if doubt := _doubt(column, group, labels):
                guess.remarks[(*_IN_GROUP, role, column.name)] = doubt
    for name in histories.by_name:
        guess.remarks[(*_IN_GROUP, "sequences", name)] = _BY_NAME
    roles: dict[str, list[str] | dict[str, str]] = {
        role: [column.name for column in columns] for role, columns in by_role.items()
    }
    roles |= {"sequences": histories.targets, "times": histories.times}
    roles |= {"share_embedding": histories.share}
    guess.roles = {role: roles[role] for role in _ORDER if roles[role]}
    return guess


def _is_alike(column: Column, in_test: Mapping[str, Column]) -> bool:
    return column.name in in_test and in_test[column.name].kind == column.kind


def _doubt(column: Column, group: Column | None, labels: Sequence[str]) -> str:
    """What else a column could be."""
    if column is group:
        return "the group; leave it out here if rows to come have new ones"
    is_number = column.kind in ("integer", "float")
    is_name = column.named(f"{IDS}|{GROUPS}")
    doubts = ["numeric"] if is_number and column.is_category and not is_name else []
    if is_number and not column.is_category:
        are_levels = column.kind == "integer" and 2 < len(column.words) <= _MOST_LEVELS
        doubts = ["context"] if are_levels else []
        doubts += ["columns.time"] if column.may_be_time else []
    doubts += ["columns.label"] if column.name in labels else []
    return "or " + ", or ".join(doubts) if doubts else ""


def _fault(column: Column, in_test: Column | None, is_history: bool) -> str:
    """Why a column cannot be learned from, or ''; `in_test` is the test table's of its name."""
    kind, other = column.kind, in_test.kind if in_test else None
    is_named = column.is_category or column.named(IDS)
    unique = column.is_plain and is_named and len(column.words) > _UNIQUE * column.known + 1
    faults = {
        "the test file has no such column": other is None,
        "it has no values": not column.known,
        "it has no values in the first rows of the test file": in_test and not in_test.known,
        f"{kind} here, and {other} in the test file": other
        and not is_history
        and len({k.replace("integer", "float") for k in (kind, other)} - {""}) > 1,
        "its name is empty, or reads as a range": not column.name or RANGE.match(column.name),
        "an index of pandas": column.named("^__index_level_"),
        "a point in time that some rows lack; with one in every row, it can be columns.time": (
            column.kind == "timestamp" and column.known < len(column.values)
        ),
        f"{kind} is not a type of a feature": not is_history and not column.is_plain,
        "a list written as text: write its tokens alone, joined by commas": kind == "text"
        and not is_history
        and {("[", "]")} == {(w[0], w[-1]) for w in column.words.to_pylist() if w},
        _POINT: not is_history and column.is_date,
        "a date that is not written like 2024-01-31; so written, it can be columns.time": (
            not is_history and column.is_unreadable_date
        ),
        f"text, since {column.odd_number!r} stands among its numbers: write numbers such as "
        f"1234.5, and nothing where one is missing": not is_history
        and unique
        and column.odd_number,
        "nearly one value a row: an ID, or free text": not is_history and unique,
        "the number of the row": column.is_counter,
    }
    return next((why for why, is_so in faults.items() if is_so), "")


def _remarks(
    label: Column, others: Sequence[str], time: Column | None, has_no_ids: bool
) -> dict[Place, str]:
    """Remarks on the label, the ID, the time and the group."""
    read_as = (
        [f"{label.label_pair[0]} is 1, {label.label_pair[1]} is 0"] if label.label_pair else []
    )
    named = ", ".join(map(scalar, others[:_MOST_NAMED]))
    read_as += [f"or {named}{', ...' if len(others) > _MOST_NAMED else ''}"] if others else []
    texts = {
        "label": "; ".join(read_as),
        "id": "no column has this name yet: tables to score or to submit need one"
        if has_no_ids
        else "",
        "time": "no feature; rows can be held out by it: docs/validation.md",
        "group": "its rows can be kept on one side of the split",
    }
    if time and time.name == "day" and time.kind == "integer" and _is_within(time, 0, 31):
        texts["time"] += "; or context, if it is a day of the week or month"
    return {("columns", key): text for key, text in texts.items() if text}


def _is_within(column: Column, least: int, most: int) -> bool:
    return all(least <= int(word) <= most for word in column.words.to_pylist())
