"""A first config for a table: roles of its columns, guessed from types, names and some rows."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ..common.errors import UserError
from ..common.files import Output, written_beside
from ..common.ragged import Ragged
from ..config.columns import RANGE, Columns
from ..raw.location import TableLocation
from ..raw.reading import RawTable, type_name
from ..raw.source import RawFiles
from ..raw.text import as_text
from ..storage.categories import codes_of, tokens_of
from ..storage.sequence_parser import parse_sequences

# All is guessed from this many first rows of a table.
ROWS = 20_000
# Profile columns cost at every position; further categories go to the output network alone.
_MOST_IN_PROFILE, _LARGEST_PROFILE = 4, 1_000
# A text with more different values than this share of its rows is an ID or free text.
_UNIQUE = 0.5
# An item's column and a history share at least this much of each other's values.
_SHARED = 0.3
_LABELS = r"click|label|target|bought|purchas|convert|conversion|^y$"
_IDS = r"(^|_)(id|uid|uuid|key|index|row)$"
_CATEGORIES = (
    r"(^|_|\b)(id|code|type|kind|cat(egory)?|group|class|zone|region|city|country|gender|sex"
    r"|hour|weekday|day_of_week|month|os|device|brand|channel|site|app|user|item|product)$"
)
_ITEMS = r"item|product|inventory|sku|article|video|movie|news|ad(_|$)|target|candidate"
_TIMES, _GROUPS = (
    r"time|(?<!candi)date|^day$|^ts$|_at$",
    r"user|member|customer|visitor|session|uid",
)
# Numbers from here on are dates: 20000101, or seconds since 1970.
_FIRST_DATE = 10_000_000


@dataclass
class _Column:
    """A column of the first rows of a table."""

    name: str
    values: pa.Array

    @cached_property
    def kind(self) -> str:
        """The kind of its values."""
        return type_name(self.values.type)

    def named(self, pattern: str) -> bool:
        """True if its name holds the pattern."""
        return re.search(pattern, self.name, re.IGNORECASE) is not None

    @cached_property
    def words(self) -> pa.Array:
        """Its values as text, each once."""
        return pc.drop_null(pc.unique(as_text(self.values)))

    @property
    def known(self) -> int:
        """Rows with a value."""
        return len(self.values) - self.values.null_count

    @property
    def is_unique(self) -> bool:
        """True if each row has a different value, as an ID."""
        return self.kind in ("integer", "text") and len(self.words) == len(self.values)

    @property
    def is_label(self) -> bool:
        """True for 0 and 1, or true and false, both of them unless its name is a label's."""
        if self.kind not in ("integer", "float", "boolean"):
            return False
        numbers = {*pc.unique(self.values.cast(pa.float64(), safe=False)).to_pylist()}
        return numbers <= {0, 1} and (len(numbers) == 2 or self.named(_LABELS))

    @property
    def is_date(self) -> bool:
        """True for numbers of a time's name such as 20240131 or seconds since 1970."""
        if self.kind not in ("integer", "float") or not self.named(_TIMES):
            return False
        median = pc.quantile(self.values)[0].as_py()  # None if all are NaN
        return median is not None and median >= _FIRST_DATE

    @cached_property
    def history(self) -> Ragged | None:
        """Its rows as sequences, if it has such."""
        if self.kind == "text":
            texts = pc.drop_null(as_text(self.values))
            if not pc.any(pc.match_substring(texts, ","), min_count=0).as_py():
                return None
        elif self.kind not in ("list of ", "list of integer", "list of text"):
            return None
        rows = np.arange(len(self.values))
        try:
            return parse_sequences(self.values, self.name, "", rows, rows)[0]
        except (UserError, pa.ArrowException):
            return None

    @property
    def is_category(self) -> bool:
        """True for texts, booleans, and numbers whose name says so."""
        is_code = self.kind in ("integer", "float") and self.named(_CATEGORIES)
        return self.kind in ("text", "boolean") or is_code


def suggest_columns(train: list[str], output: Output, *, test: list[str] | None = None) -> None:
    """Write `suggested` of the files to `output`."""
    with written_beside(output) as temporary:
        temporary.write_text(suggested(train, test), encoding="utf-8")


def suggested(train: list[str], test: list[str] | None = None) -> str:
    """A config for a train table and, if there is one, its test table, as YAML with remarks.

    All is guessed from the first ROWS rows. Raises UserError if there is no label, no ID in the
    test table, or nothing to learn from.
    """
    columns = _head(RawTable(train))
    test_columns = _head(RawTable(test)) if test else columns
    kinds = {column.name: column.kind for column in test_columns}
    label = _label([c for c in columns if not test or c.name not in kinds] or columns)
    identity = _identity(columns, test_columns) if test else "ID"
    features = [c for c in columns if c.name not in (label.name, identity)]
    left_out = {c.name: why for c in features if (why := _fault(c, kinds))}
    usable = [c for c in features if c.name not in left_out]
    histories = _equally_long([c for c in usable if c.history is not None], left_out)
    others = [c for c in usable if c.history is None]
    targets = _targets(histories, [c for c in others if c.is_category])
    left_out |= {c.name: "a sequence, and no column is its item" for c in histories[len(targets) :]}
    items = {item.name for item, _ in targets.values()}
    categories = [c for c in others if c.is_category and c.name not in items]
    profile = [c for c in categories if len(c.words) <= _LARGEST_PROFILE][:_MOST_IN_PROFILE]
    roles: dict[str, list[str] | dict[str, str]] = {
        "sequences": {name: item.name for name, (item, _) in targets.items()},
        "share_embedding": [name for name, (_, is_shared) in targets.items() if is_shared],
        "profile": [c.name for c in profile],
        "context": [c.name for c in categories if c not in profile],
        "numeric": [c.name for c in others if not c.is_category],
    }
    remarks = [f"{json.dumps(name)} is left out: {why}" for name, why in left_out.items()]
    if not any(roles.values()):
        why = "\n  ".join(["", *remarks])
        raise UserError(f"no column of the train file can be learned from; add one:{why}")
    block: dict[str, Any] = {"label": label.name, "id": identity, "use": ["all"]}
    block["groups"] = {"all": {role: names for role, names in roles.items() if names}}
    # Raises an error if the columns cannot be used as suggested.
    locations = TableLocation(train), TableLocation(test) if test else None
    RawFiles(*locations, None).check(Columns.from_config(block))
    remarks += _hints([c for c in columns if c.name not in (label.name, identity)])
    config = {"raw": {"source": "files", "train": train, "test": test}, "columns": block}
    return "\n".join(
        [
            f"# Guessed from the first {len(label.values):,} rows: check each line.",
            # Unescaped, YAML would read line breaks of Unicode as its own.
            yaml.safe_dump(config, sort_keys=False, allow_unicode=not _has_breaks(columns)).strip(),
            *(f"# {remark}" for remark in remarks),
            "",
        ]
    )


def _has_breaks(columns: Sequence[_Column]) -> bool:
    return any(column.named("[\x85\u2028\u2029]") for column in columns)


def _head(table: RawTable) -> list[_Column]:
    """The columns of a table's first rows."""
    schema, batches, rows = table.schema_arrow, [], 0
    for _, batch in table.stream(schema.names, 4_096):
        batches.append(batch.slice(0, ROWS - rows))
        rows += len(batches[-1])
        if rows == ROWS:
            break
    head = pa.Table.from_batches(batches, schema).combine_chunks()
    if not rows:
        raise UserError(f"{table.location}: the file has no rows; give one with rows")
    return [_Column(name, head[name].chunk(0)) for name in schema.names]


def _label(columns: Sequence[_Column]) -> _Column:
    """A column of 0 and 1, preferably one that is named like a label."""
    labels = [column for column in columns if column.is_label]
    labels = [column for column in labels if column.named(_LABELS)] or labels
    if not labels:
        raise UserError(
            f"no column of the train file is a label: one with 0 and 1, or true and false, and "
            f"nothing else in the first {ROWS:,} rows, that is not in a test file; add one, or "
            f"write the config by hand (config/README.md)"
        )
    return labels[0]


def _identity(columns: Sequence[_Column], test_columns: Sequence[_Column]) -> str:
    """The ID column of the test table."""
    in_train = {column.name for column in columns}
    ids = [column for column in test_columns if column.is_unique]
    ids.sort(key=lambda column: (not column.named(_IDS), column.name in in_train))
    if not ids:
        raise UserError(
            "no column of the test file has a different value in each row, as an ID has; add one"
        )
    return ids[0].name


def _fault(column: _Column, test_kinds: Mapping[str, str]) -> str:
    """Why a column cannot be learned from, or ''; `test_kinds`: kinds of the test's columns."""
    kind, other = column.kind, test_kinds.get(column.name)
    is_plain = kind in ("text", "boolean", "integer", "float")
    unique = is_plain and column.is_category and len(column.words) > _UNIQUE * column.known + 1
    faults = {
        "the test file has no such column": other is None,
        "it has no values": not column.known,
        f"{kind} here, and {other} in the test file": other
        and column.history is None
        and len({k.replace("integer", "float") for k in (kind, other)} - {""}) > 1,
        "its name is empty, or reads as a range": not column.name or RANGE.match(column.name),
        "an index of pandas": column.named("^__index_level_"),
        f"{kind} is not a type of a feature": column.history is None and not is_plain,
        "nearly one value a row: an ID, or free text": column.history is None and unique,
        "a point in time, and later rows have others": column.is_date,
    }
    return next((why for why, is_so in faults.items() if is_so), "")


def _equally_long(histories: Sequence[_Column], left_out: dict[str, str]) -> list[_Column]:
    """The first history that holds no times, and those of the same lengths."""
    kept: list[_Column] = []
    offsets = np.zeros(1, np.int64)
    for column in histories:
        history = column.history
        assert history is not None
        if kept and not np.array_equal(history.offsets, offsets):
            left_out[column.name] = f"not as long as {json.dumps(kept[0].name)} in each row"
        elif column.named(_TIMES) and column.kind != "list of text":
            left_out[column.name] = "times of events? See `times` in config/README.md"
        else:
            offsets = history.offsets
            kept.append(column)
    return kept


def _targets(
    histories: Sequence[_Column], categories: Sequence[_Column]
) -> dict[str, tuple[_Column, bool]]:
    """The item of each history, and whether its values are the history's events.

    The item is the category that shares most values with the history, else one that is named like
    an item, else the one with most values. With too few categories, later histories have no item.
    """
    targets: dict[str, tuple[_Column, bool]] = {}
    free = list(categories)
    for column in histories[: len(free)]:
        shares = [_shared(column, c) for c in free]
        likely = [
            (share >= _SHARED and share, c.named(_ITEMS), not c.named(_GROUPS), len(c.words))
            for share, c in zip(shares, free)
        ]
        best = likely.index(max(likely))
        targets[column.name] = free.pop(best), shares[best] >= _SHARED
    return targets


def _shared(history: _Column, category: _Column) -> float:
    """The share of events that are values of the category, or of rows whose value is an event.

    The smaller of the two, since small numbers are everywhere.
    """
    assert history.history is not None
    events = history.history.values.astype(np.int64)
    encoded = pc.drop_null(as_text(category.values)).dictionary_encode()
    tokens = tokens_of(codes_of(encoded.dictionary.to_pylist()))[encoded.indices.to_numpy()]
    pairs = (events, tokens), (tokens, events)
    return min(float(np.isin(*pair).sum()) / max(1, len(pair[0])) for pair in pairs)


def _hints(columns: Sequence[_Column]) -> Iterator[str]:
    """Remarks that suggest columns to hold out rows by."""
    plain = [c for c in columns if c.history is None and not pa.types.is_nested(c.values.type)]
    times = [c for c in plain if c.kind == "timestamp" or c.named(_TIMES)]
    groups = [c for c in plain if c.named(_GROUPS) and c.kind in ("text", "integer")]
    for key, suggestions in (("time", times), ("group", groups)):
        for column in suggestions[:1]:
            yield (
                f"sampling: {{split: {{{key}: {json.dumps(column.name)}}}}} # an honest "
                f"validation? See docs/validation.md"
            )
