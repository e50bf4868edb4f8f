"""A first table file: roles of a table's columns, guessed from types, names and some rows."""

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ..common.errors import UserError
from ..common.files import Output, atomic_write
from ..config.columns import SEPARATORS, Columns
from ..datasets.raw_values import NO_TEXT
from ..raw.formats import guess_delimiter
from ..raw.location import TableLocation
from ..raw.raw_files import RawFiles
from ..raw.reading import RawTable
from ..raw.values import LABEL_PAIRS, MEANS_MISSING, as_text, type_name

# Roles are guessed from this many rows of a table, the first ones of each file.
ROWS = 20_000
# Profile columns take time at every position; further categories go to the output network alone.
_MAX_IN_PROFILE, _LARGEST_PROFILE = 4, 1_000
# A history and the column of its items share at least this much of their values. Unrelated small
# numbers do, too, so a column of numbers must be named like items, or share nearly all.
_SHARED, _NEARLY_ALL = 0.3, 0.9
# In a column named like a time, numbers from here on are dates: 20000101, or seconds since 1970.
_FIRST_DATE = 10_000_000
# Patterns of names in lower case, with _ between words.
_LABEL = (
    "click|label|target|bought|purchas|conver(t|sion)|(^|_)(y|sold|paid|booked|ordered|liked?"
    "|installed|subscribed|churn(ed)?|respon(se|ded)|outcome)$"
)
_ID = "(^|_)(id|uid|uuid|key|index|row)$"
_CODE = "s?(_?(id|idx|no|num|number|key|code|hash|name))?$"
_GROUP = f"(^|_)(user|member|customer|client|visitor|account|subscriber|player|session|uu?){_CODE}"
_ITEM = (
    "(^|_)(item|product|inventory|sku|article|video|movie|film|song|track|news|book|ad|advert"
    f"|creative|page|listing|target|candidate){_CODE}"
)
_CATEGORY = (
    "(^|_)(id|code|type|kind|cat(egory)?|group|class|zone|region|city|country|gender|sex|hour|month"
    f"|weekday|day_of_week|os|device|brand|channel|site|app|shop|store|campaign)$|{_GROUP}|{_ITEM}"
)
_TIME = "time|(?<!candi)(?<!up)date|(^|_)(day|ts|dt)$|_at$"
_TIME_OF_ROW = (
    "^((event|log|click|impression|request|view|visit|order)_?)?"
    "(day|at|dt|ts|date|time|datetime|timestamp)$"
)
_TIME_OF_OTHERS = "birth|sign_?up|regist|join|releas|expir|publish|launch|updat|modif|last|first"
# Patterns of text: numbers such as 1,234.50 or -12,5 €; dates with the day or the month first.
_NUMBER = r"^\W*\d+([.,]\d{3})*([.,]\d*)?\W*$"
_ODD_DATE = r"^\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})(\D|$)"
_MISSING = f"^(|{'|'.join(map(re.escape, MEANS_MISSING))})$"


def suggest_columns(train: list[str], output: Output, *, test: list[str] | None = None) -> str:
    """Write a table file for a train table and, if there is one, its test table.

    Returns what to do next. Raises UserError if a table has no rows, no label, or nothing to
    learn from.
    """
    delimiter = _delimiter(TableLocation(train))
    locations = [TableLocation(files, delimiter) for files in (train, test) if files]
    tables = [RawTable(location) for location in locations]
    columns, others = _head(tables[0]), _head(tables[-1])
    label, identity = _label_and_id(columns, others if test else {})
    features = [c for c in columns.values() if c.name not in (label, identity)]
    times = [c for c in features if c.is_time]
    time = min(times, key=lambda c: not c.named(_TIME_OF_ROW), default=None)
    groups = [c for c in features if c.named(_GROUP) and 1 < len(c.texts) < len(c.known)]
    group = min(groups, key=lambda c: c.named("session"), default=None)
    features = [c for c in features if c is not time]
    is_typed = time and time.name in others and time.kind in ("integer", "timestamp")
    roles, left_out = _roles(features, others, time if is_typed else None, group)
    for table in tables:
        left_out |= dict.fromkeys(table.incomplete, f"not all files of {table.location} have it")
        left_out |= table.unusable
    reasons = "".join(f"# {name!r} is left out: {why}\n" for name, why in left_out.items())
    kept = {name for listed in roles.values() for name in listed}
    for name in kept & {c.name for c in features if c.is_written_number}:
        reasons += f"# {name!r} is a category: its numbers are not written like 1234.5\n"
    if not roles:
        raise UserError(f"no column of the train file can be learned from; add one:\n{reasons}")
    block: dict[str, Any] = {"label": label, "id": identity}
    block |= {role: c.name for role, c in (("time", time), ("group", group)) if c}
    block |= {"use": ["all"], "groups": {"all": roles}}
    # Raises an error if the columns cannot be used as suggested.
    RawFiles(locations[0], locations[1] if test else None, None).check(Columns.from_config(block))
    paths = [files[0] if files and len(files) == 1 else files for files in (train, test)]
    raw = {"train": paths[0], "test": paths[1], "delimiter": delimiter}
    content = {"raw": raw, "columns": block, "score": "logloss"}
    with atomic_write(output) as temporary:
        temporary.write_text(
            f"# Guessed from at most {ROWS:,} rows: check all roles (see config/README.md).\n"
            f"{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1_000)}{reasons}",
            encoding="utf-8",
        )
    return (
        f"{reasons}{output} is written: check it. The next command describes the data:\n"
        f"    snakemake --cores 4 results/full/data.md --config {shlex.quote(f'table={output}')}"
    )


def _delimiter(table: TableLocation) -> str | None:
    """The delimiter in the header of a CSV file; None for a comma, and for other formats."""
    file = table.files[0]
    if not re.search(r"\.csv(\.gz)?$", file.name.lower()):
        return None
    with file.reading():
        delimiter = guess_delimiter(file)
    return None if delimiter == "," else delimiter


class _Column:
    """A column of the first rows, and what its name and values look like."""

    def __init__(self, name: str, values: pa.Array, has_types: bool) -> None:
        values = values if has_types else _typed(values)
        self.name, self.kind = name, type_name(values.type)
        self.known = values.filter(pc.invert(values.is_null(nan_is_null=True)))
        self.is_number = self.kind in ("integer", "float")
        self.is_plain = self.is_number or self.kind in ("text", "boolean")
        self.is_category = self.is_plain and (not self.is_number or self.named(_CATEGORY))
        self.texts = pc.unique(as_text(self.known)) if self.is_plain else pa.array([], "string")
        self.is_unique = self.kind in ("integer", "text") and len(self.texts) == len(values)
        is_complete = len(self.known) == len(values)
        words = {text.strip().lower() for text in self.texts[:9].to_pylist()}
        is_binary = bool(words) and any(words <= {*pair} for pair in (("1", "0"), *LABEL_PAIRS))
        self.is_label = is_binary and is_complete and (len(words) == 2 or self.named(_LABEL))
        # Points in time, not durations. A row's time is never missing, and can be ordered.
        is_large = self.is_number and (pc.mean(self.known).as_py() or 0) >= _FIRST_DATE
        is_odd, is_typed = self.fits(_ODD_DATE), pa.types.is_temporal(_typed(self.known).type)
        self.is_date = is_odd or is_typed or (is_large and self.named(_TIME))
        is_of_row = self.named(_TIME_OF_ROW) and (self.is_number or self.fits("^[0-9]+$"))
        is_time = (self.is_date and not is_odd) or is_of_row
        self.is_time = is_time and is_complete and not self.named(_TIME_OF_OTHERS)
        # The rows as lists of tokens, if they can be read so, and the tokens' separator in text.
        self.events, self.separator = _split(values, self.kind)
        self.lengths = self.events and pc.fill_null(pc.list_value_length(self.events), 0)
        self.is_written_number = self.fits(_NUMBER, _NEARLY_ALL)

    def named(self, pattern: str) -> bool:
        """True if its name, in lower case with _ between words, matches the pattern."""
        name = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()
        return re.search(pattern, name) is not None

    def fits(self, pattern: str, min_share: float = 1) -> bool:
        """True for text if at least this share of its distinct values matches the pattern."""
        share = pc.mean(pc.match_substring_regex(self.texts, pattern)).as_py()
        return self.kind == "text" and (share or 0) >= min_share

    @property
    def has_times(self) -> bool:
        """True if all events are integers, as large as dates or in a column named like a time."""
        digits = "[0-9]+" if self.named(_TIME) else "[0-9]{8,}"
        are_integers = pc.match_substring_regex(self.events.flatten(), f"^{digits}$")
        return pc.all(are_integers).as_py() is not False

    def share(self, item: "_Column") -> float:
        """The share of events that are values of the item, or of rows whose value is an event.

        Returns the smaller, since small numbers are everywhere; 0 if the share is too small.
        """
        if not item.is_category or item is self:
            return 0
        events, values = self.events.flatten(), as_text(item.known)
        pairs = (events, values), (values, events)
        share = min(pc.mean(pc.is_in(a, value_set=b)).as_py() or 0 for a, b in pairs)
        is_sure = (item.kind == "text" or item.named(_ITEM)) and not self.is_written_number
        return share if share >= (_SHARED if is_sure else _NEARLY_ALL) else 0

    def item(self, others: Sequence["_Column"]) -> "_Column | None":
        """The column of a history's items: one that shares values, else one named like items."""
        if best := max(filter(self.share, others), key=self.share, default=None):
            return best
        is_sure = self.kind != "text" or self.fits("^[0-9]*(,[0-9]+)*$")
        named = [c for c in others if c.is_category and c.named(_ITEM)]
        likely = named if is_sure and not self.is_written_number else []
        return max(likely, key=lambda c: len(c.texts), default=None)

    def fault(self, other: "_Column | None") -> str:
        """Why it cannot be a feature, or ''; `other` is the test table's column of its name."""
        if other is None:
            return "the test file has no such column"
        if not len(self.known) or not len(other.known):
            return "it has no values in the first rows of a file"
        is_name = self.is_category or self.named(_ID)
        faults = {
            "a point in time, and later rows have others; columns.time may name a column with a "
            "time such as 2024-01-31 in every row": self.is_date or self.is_time,
            f"{self.kind} cannot be a feature; a history needs a column of the row's item, which "
            f"shares its values or is named like an item, and must be as long as other histories "
            f"in each row; times of events need columns.time": not self.is_plain,
            "a list as text: write its tokens alone, joined by commas": self.fits(r"^\[.*\]$"),
            "nearly all rows have different values: an ID, free text, numbers not written like "
            "1234.5, or a history without the column of its items": is_name
            and len(self.texts) > 0.5 * len(self.known) + 1,
            "an index of pandas": self.named("^(__index_level_.*|unnamed: 0|)$"),
        }
        return next((why for why, is_so in faults.items() if is_so), "")


def _split(values: pa.Array, kind: str) -> tuple[Any, str]:
    """The values as lists of tokens, and their separator in text; None if they are not lists."""
    if kind in ("list of ", "list of integer", "list of text"):
        return values.cast(pa.list_(pa.string())), ""
    for separator in SEPARATORS if kind == "text" else ():
        if pc.any(pc.match_substring(values, separator)).as_py():
            lists = pc.split_pattern(pc.if_else(pc.equal(values, ""), None, values), separator)
            is_wrong = pc.match_substring_regex(lists.flatten(), f"^$|{NO_TEXT.pattern}")
            if not pc.any(is_wrong).as_py():
                return lists, separator
    return None, ""


def _head(table: RawTable) -> dict[str, _Column]:
    """The columns of the first rows."""
    head = table.head(ROWS)
    if not len(head):
        raise UserError(f"{table.location}: the file has no rows; give one with rows")
    names = head.column_names
    return {n: _Column(n, head[n].combine_chunks(), table.has_types) for n in names}


def _typed(values: pa.Array) -> pa.Array:
    """Texts as numbers or timestamps if all can be; texts with leading zeros are codes."""
    if type_name(values.type) != "text":
        return values
    is_missing = pc.match_substring_regex(values, _MISSING, ignore_case=True)
    texts = pc.if_else(is_missing, None, values)
    is_code = pc.any(pc.match_substring_regex(texts, "^[-+]?0[0-9]")).as_py()
    types = [pa.int64(), pa.float64(), pa.timestamp("ns"), pa.timestamp("ns", "UTC")]
    for wanted in types if is_code is False else []:
        with suppress(pa.ArrowException):
            return texts.cast(wanted)
    return values


def _label_and_id(
    columns: Mapping[str, _Column], in_test: Mapping[str, _Column]
) -> tuple[str, str | None]:
    """The label, which a test table lacks, and the column of IDs, if there is one."""
    labels = [c for c in columns.values() if c.is_label]
    labels = [c for c in labels if c.name not in in_test or not len(in_test[c.name].known)]
    if not labels:
        raise UserError(
            f"no column of the train file is a label: a label has only 0 and 1, true and false, or "
            f"yes and no in the first {ROWS:,} rows, and is not in the test file; add one"
        )
    label = min(labels, key=lambda c: (not c.named(_LABEL), c.name in in_test)).name
    ids = [c for c in (in_test or columns).values() if c.is_unique and not c.is_time]
    ids.sort(key=lambda c: (not c.named(_ID), c.named(_GROUP), c.name in columns))
    return label, ids[0].name if ids and (in_test or ids[0].named(_ID)) else None


def _roles(
    features: Sequence[_Column],
    in_test: Mapping[str, _Column],
    time: _Column | None,
    group: _Column | None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The roles of the features, and why others are left out."""
    faults = {c.name: c.fault(in_test.get(c.name)) for c in features}
    items = [c for c in features if not faults[c.name]]
    known = {name for name, column in in_test.items() if len(column.known)}
    histories = [c for c in features if c.events is not None and c.name in known]
    # Histories that share their item's values come first, and set the length of all; times last.
    histories.sort(key=lambda c: (c.has_times, not any(map(c.share, items))))
    roles: dict[str, Any] = {"sequences": {}, "times": {}, "share_embedding": []}
    kept: list[_Column] = []
    for column in histories:
        item = time if column.has_times else column.item(items)
        is_beside = all(column.lengths.equals(c.lengths) for c in kept)
        is_beside &= len({c.separator for c in (column, *kept)} - {""}) < 2
        if item and is_beside and not (column.has_times and (roles["times"] or not kept)):
            roles["times" if column.has_times else "sequences"][column.name] = item.name
            roles["share_embedding"] += [column.name] if column.share(item) else []
            kept.append(column)
            items = [c for c in items if c not in (column, item)]
            faults.pop(column.name)
    categories = [c for c in items if c.is_category]
    profile = [c.name for c in categories if len(c.texts) <= _LARGEST_PROFILE and c is not group]
    roles |= {
        "separator": next((c.separator for c in kept if c.separator), SEPARATORS[0]),
        "profile": profile[:_MAX_IN_PROFILE],
        "context": [c.name for c in categories if c.name not in profile[:_MAX_IN_PROFILE]],
        "numeric": [c.name for c in items if not c.is_category],
    }
    roles = {role: names for role, names in roles.items() if names and names != SEPARATORS[0]}
    return roles, {name: why for name, why in faults.items() if why}
