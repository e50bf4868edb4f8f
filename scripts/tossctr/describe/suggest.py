"""Write a table file (YAML): the roles of columns, guessed from types, names and first rows."""

import os
import re
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
from ..raw.location import Location, TableLocation
from ..raw.raw_files import RawFiles
from ..raw.reading import RawTable
from ..raw.values import LABEL_PAIRS, MISSING_WORDS, as_text, type_name

# Roles are guessed from at most this many rows of a table, the first rows of each file.
ROWS = 20_000
# Maximum profile columns, which cost time at every event, and maximum values of each.
_MAX_PROFILE, _MAX_VALUES = 4, 1_000
# A history and its item column share at least this part of their values. Unrelated small numbers
# overlap, too, so a numeric item column must share nearly all values or be named like an item.
_MIN_OVERLAP, _NEARLY_ALL = 0.3, 0.9
# Numbers of at least this size are dates (20000101 or seconds since 1970) if named like a time.
_MIN_DATE = 10_000_000
# Patterns of column names in lower case, with _ between words.
_LABEL = (
    "click|label|target|bought|purchas|conver(t|sion)|(^|_)(y|sold|paid|booked|ordered|liked?"
    "|installed|subscribed|churn(ed)?|respon(se|ded)|outcome)$"
)
_ID = "(^|_)(id|uid|uuid|key|index|row|no|number)$"
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
_ROW_TIME = (
    "^((event|log|click|impression|request|view|visit|order)_?)?"
    "(day|at|dt|ts|date|time|datetime|timestamp)$"
)
_OTHER_TIME = "birth|sign_?up|regist|join|releas|expir|publish|launch|updat|modif|last|first"
# Patterns of values: numbers such as 1,234.50 or -12,5 €; dates that begin with a day or month.
_NUMBER = r"^\W*\d+([.,]\d{3})*([.,]\d*)?\W*$"
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}"
_LOCAL_DATE = r"^\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})(\D|$)"
_MISSING = f"^(|{'|'.join(map(re.escape, MISSING_WORDS))})$"


def suggest_columns(train: list[str], output: Output, *, test: list[str] | None = None) -> str:
    """Write a table file (YAML) with guessed roles of columns.

    `train` and `test` list the files or folders of each table; `test` is None without a test table.
    Returns comments on columns, such as why one is left out. Raises UserError if a table has no
    rows, no label or no feature.
    """
    delimiter = _delimiter(TableLocation(train))
    locations = [TableLocation(files, delimiter) for files in (train, test) if files]
    tables = [RawTable(location) for location in locations]
    columns, test_columns = _head(tables[0]), _head(tables[-1])
    label, id_column = _label_and_id(columns, test_columns if test else {})
    features = [c for c in columns.values() if c.name not in (label, id_column)]
    times = [c for c in features if c.is_time]
    time = min(times, key=lambda c: not c.is_named(_ROW_TIME), default=None)
    # A column of two values, such as `subscriber`, does not name users.
    groups = [c for c in features if c.is_named(_GROUP) and 2 < len(c.distinct) < len(c.present)]
    group = min(groups, key=lambda c: c.is_named("session"), default=None)
    features = [c for c in features if c is not time]
    is_typed = time and time.name in test_columns and time.kind in ("integer", "timestamp")
    roles, left_out = _roles(features, test_columns, time if is_typed else None, group)
    for table in tables:
        left_out |= dict.fromkeys(table.incomplete, f"some files of {table.location} lack it")
        left_out |= table.unusable
    reasons = "".join(f"# {name!r} is left out: {why}\n" for name, why in left_out.items())
    categories = {*roles.get("profile", ()), *roles.get("context", ())}
    for name in [c.name for c in features if c.is_written_number and c.name in categories]:
        reasons += f"# {name!r} is a category, since its numbers are not written like 1234.5\n"
    if not roles:
        raise UserError(f"the train file has no column that can be a feature; add one\n{reasons}")
    block: dict[str, Any] = {"label": label, "id": id_column}
    block |= {role: c.name for role, c in (("time", time), ("group", group)) if c}
    block |= {"use": ["all"], "groups": {"all": roles}}
    # Raises UserError if the columns cannot have these roles.
    RawFiles(locations[0], locations[1] if test else None, None).check(Columns.from_config(block))
    raw = {"train": _paths(train), "test": _paths(test or []), "delimiter": delimiter}
    content = {"raw": raw, "columns": block, "score": "logloss"}
    with atomic_write(output) as temporary:
        temporary.write_text(
            f"# Guessed from at most {ROWS:,} rows; check all roles (see config/README.md).\n"
            f"{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1_000)}{reasons}",
            encoding="utf-8",
        )
    return reasons


def _paths(files: Sequence[str]) -> str | list[str] | None:
    """The config's value for these files, valid in every working folder."""
    paths = [each if Location(each).is_remote else os.path.abspath(each) for each in files]
    return paths if len(paths) > 1 else next(iter(paths), None)


def _delimiter(table: TableLocation) -> str | None:
    """The delimiter in the header of a CSV file; None for a comma or a file that is not .csv."""
    file = table.files[0]
    if not re.search(r"\.csv(\.gz)?$", file.name.lower()):
        return None
    with file.reading():
        delimiter = guess_delimiter(file)
    return None if delimiter == "," else delimiter


class _Column:
    """A column of the first rows, and what its name and values suggest."""

    def __init__(self, name: str, values: pa.Array, has_types: bool) -> None:
        values = values if has_types else _typed(values)
        self.name, self.kind = name, type_name(values.type)
        self.present = values.filter(pc.invert(values.is_null(nan_is_null=True)))
        self.is_number = self.kind in ("integer", "float")
        self.is_plain = self.is_number or self.kind in ("text", "boolean")
        self.is_category = self.is_plain and (not self.is_number or self.is_named(_CATEGORY))
        self.texts = as_text(self.present) if self.is_plain else pa.array([], "string")
        self.distinct = pc.unique(self.texts)
        self.is_unique = self.kind in ("integer", "text") and len(self.distinct) == len(values)
        is_complete = len(self.present) == len(values)
        words = pc.utf8_lower(pc.utf8_trim_whitespace(self.texts))
        pairs = [pa.array(pair) for pair in (("1", "0"), *LABEL_PAIRS)]
        share = max(pc.sum(pc.is_in(words, pair)).as_py() or 0 for pair in pairs) / len(values)
        is_named = self.is_named(_LABEL)
        self.is_label = share == 1 and (pc.count_distinct(words).as_py() == 2 or is_named)
        self.is_nearly_label = is_named and share >= _NEARLY_ALL
        # Dates are points in time, not durations. A row's time has no nulls and a known order.
        is_large = self.is_number and (pc.mean(self.present).as_py() or 0) >= _MIN_DATE
        is_large = is_large and self.is_named(_TIME)
        is_local, type_ = self.matches(_LOCAL_DATE), _typed(self.present).type
        # A few bad times leave text; the step that reads all rows names the first of them.
        is_written = pa.types.is_temporal(type_) or self.matches(_ISO_DATE, _NEARLY_ALL)
        self.is_date = is_local or is_large or is_written
        is_of_row = self.is_named(_ROW_TIME) and (self.is_number or self.matches("^[0-9]+$"))
        is_time = (self.is_date and not is_local) or is_of_row
        self.is_time = is_time and is_complete and not self.is_named(_OTHER_TIME)
        # The rows as lists of tokens, or None, and the separator of tokens in text.
        self.events, self.separator = _split(values, self.kind)
        self.lengths = self.events and pc.fill_null(pc.list_value_length(self.events), 0)
        self.is_written_number = self.matches(_NUMBER, _NEARLY_ALL)

    def is_named(self, pattern: str) -> bool:
        """True if the column's name, in lower case with _ between words, matches `pattern`."""
        name = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()
        return re.search(pattern, name) is not None

    def matches(self, pattern: str, min_share: float = 1) -> bool:
        """True for text if at least `min_share` of its values match `pattern`."""
        share = pc.mean(pc.match_substring_regex(self.texts, pattern)).as_py()
        return self.kind == "text" and (share or 0) >= min_share

    @property
    def is_event_times(self) -> bool:
        """True if events can be times: integers, with 8 or more digits unless named like a time."""
        digits = "[0-9]+" if self.is_named(_TIME) else "[0-9]{8,}"
        are_integers = pc.match_substring_regex(self.events.flatten(), f"^{digits}$")
        return pc.all(are_integers).as_py() is not False

    def overlap(self, item: "_Column") -> float:
        """How far the events of this history and the values of the column `item` overlap.

        The lower of two shares: of events that are values, and of values that are events. One alone
        can be high for unrelated small numbers. 0 if the overlap is too low for an item column.
        """
        if not item.is_category or item is self:
            return 0
        events, values = self.events.flatten(), as_text(item.present)
        pairs = (events, values), (values, events)
        share = min(pc.mean(pc.is_in(a, value_set=b)).as_py() or 0 for a, b in pairs)
        is_sure = (item.kind == "text" or item.is_named(_ITEM)) and not self.is_written_number
        return share if share >= (_MIN_OVERLAP if is_sure else _NEARLY_ALL) else 0

    def item_column(self, others: Sequence["_Column"]) -> "_Column | None":
        """The column of `others` that has the row's item: its values overlap most with the events.

        Without an overlap, the likeliest by its name; None if there is none.
        """
        if best := max(filter(self.overlap, others), key=self.overlap, default=None):
            return best
        is_sure = self.kind != "text" or self.matches("^[0-9]*(,[0-9]+)*$")
        named = [c for c in others if c.is_category and c.is_named(_ITEM)]
        likely = named if is_sure and not self.is_written_number else []
        return max(likely, key=lambda c: len(c.distinct), default=None)

    def reason_to_exclude(self, other: "_Column | None") -> str:
        """Why the column cannot be a feature, or ''. `other` is this column in the test table."""
        if other is None:
            return "the test file does not have this column"
        if not len(self.present) or not len(other.present):
            return "it has no values in the first rows of a file"
        is_name = self.is_category or self.is_named(_ID)
        faults = {
            "it is a point in time, which later rows do not share; columns.time may name a column "
            "with a time such as 2024-01-31 in every row": self.is_date or self.is_time,
            f"{self.kind} cannot be a feature; a history needs an item column that shares its "
            f"values or is named like an item, and as many events as the row's other histories; "
            f"event times need columns.time": not self.is_plain,
            "it has lists written as text, such as [1, 2]; write 1,2": self.matches(r"^\[.*\]$"),
            "values rarely repeat: it is an ID, free text, numbers not written like 1234.5, or a "
            "history without an item column": is_name
            and len(self.distinct) > 0.5 * len(self.present) + 1,
            "it is a pandas index": self.is_named("^(__index_level_.*|unnamed: 0|)$"),
        }
        return next((why for why, is_so in faults.items() if is_so), "")


def _split(values: pa.Array, kind: str) -> tuple[Any, str]:
    """The values as lists of tokens, or None, and the separator of tokens in text, or ''."""
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
        raise UserError(f"{table.location}: there are no rows; give a file with rows")
    return {n: _Column(n, head[n].combine_chunks(), table.has_types) for n in head.column_names}


def _typed(values: pa.Array) -> pa.Array:
    """Texts as numbers or timestamps if all of them parse and none has leading zeros (a code)."""
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
    """The names of the label, which the test table lacks, and of the ID column, if there is one."""
    filled = {name for name, column in in_test.items() if len(column.present)}
    labels = [c for c in columns.values() if c.name not in filled]
    # A few bad labels leave none; the step that reads all rows names the first of them.
    labels = [c for c in labels if c.is_label] or [c for c in labels if c.is_nearly_label]
    if not labels:
        raise UserError(
            f"the train file has no label; add one: a column that the test file lacks, with two "
            f"values in the first {ROWS:,} rows (0 and 1, true and false, or yes and no)"
        )
    label = min(labels, key=lambda c: (not c.is_named(_LABEL), c.name in in_test)).name
    ids = [c for c in (in_test or columns).values() if c.is_unique and not c.is_time]
    ids.sort(key=lambda c: (not c.is_named(_ID), c.is_named(_GROUP), c.name in columns))
    return label, ids[0].name if ids and (in_test or ids[0].is_named(_ID)) else None


def _roles(
    features: Sequence[_Column],
    in_test: Mapping[str, _Column],
    time: _Column | None,
    group: _Column | None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The names of features by role, and the reasons why columns are left out."""
    faults = {c.name: c.reason_to_exclude(in_test.get(c.name)) for c in features}
    items = [c for c in features if not faults[c.name]]
    filled = {name for name, column in in_test.items() if len(column.present)}
    histories = [c for c in features if c.events is not None and c.name in filled]
    # The first history sets the length of all: it should share its item's values. Times come last.
    histories.sort(key=lambda c: (c.is_event_times, not any(map(c.overlap, items))))
    roles: dict[str, Any] = {"sequences": {}, "times": {}, "share_embedding": []}
    kept: list[_Column] = []
    for column in histories:
        item = time if column.is_event_times else column.item_column(items)
        is_aligned = all(column.lengths.equals(c.lengths) for c in kept)
        is_aligned &= len({c.separator for c in (column, *kept)} - {""}) < 2
        if item and is_aligned and not (column.is_event_times and (roles["times"] or not kept)):
            roles["times" if column.is_event_times else "sequences"][column.name] = item.name
            roles["share_embedding"] += [column.name] if column.overlap(item) else []
            kept.append(column)
            items = [c for c in items if c not in (column, item)]
            faults.pop(column.name)
    categories = [c for c in items if c.is_category]
    profile = [c.name for c in categories if len(c.distinct) <= _MAX_VALUES and c is not group]
    roles |= {
        "separator": next((c.separator for c in kept if c.separator), SEPARATORS[0]),
        "profile": profile[:_MAX_PROFILE],
        "context": [c.name for c in categories if c.name not in profile[:_MAX_PROFILE]],
        "numeric": [c.name for c in items if not c.is_category],
    }
    roles = {role: names for role, names in roles.items() if names and names != SEPARATORS[0]}
    return roles, {name: why for name, why in faults.items() if why}
