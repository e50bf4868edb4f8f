"""The first rows of a table, column by column: what types, names and values look like."""

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..common.errors import UserError
from ..common.ragged import Ragged
from ..config.columns import SEPARATORS
from ..raw.labels import as_numbers, pair_of
from ..raw.reading import RawTable
from ..raw.text import MEANS_MISSING, as_text
from ..raw.types import type_name
from ..storage.categories import codes_of, tokens_of
from ..storage.sequence_parser import parse_sequences

# All is guessed from this many first rows of a table.
ROWS = 20_000
# Patterns of names in lower case, with _ between words.
LABELS = (
    r"click|label|target|bought|purchas|conver(t|sion)|(^|_)(y|sold|paid|booked|ordered|liked?"
    r"|installed|subscribed|churn(ed)?|respon(se|ded)|outcome)$"
)
IDS = r"(^|_)(id|uid|uuid|key|index|row)$"
# Users and the like, whose rows belong together.
GROUPS = (
    r"(^|_)(user|member|customer|client|visitor|session|account|subscriber|player|uid|uuid)s?"
    r"(_?(id|idx|no|num|number|key|code|hash|name))?$"
)
_CATEGORIES = (
    r"(^|_|\b)(id|code|type|kind|cat(egory)?|group|class|zone|region|city|country|gender|sex"
    r"|hour|weekday|day_of_week|month|os|device|brand|channel|site|app|shop|store|item|product"
    rf"|page|campaign)$|{GROUPS}"
)
TIMES = r"time|(?<!candi)(?<!up)date|(^|_)(day|ts|dt)$|_at$"
# When the row was, and when something else was.
_OF_ROW = (
    r"^((event|log|click|impression|request|view|visit|order|row)_?)?"
    r"(time|timestamp|datetime|date|day|ts|dt|at)$"
)
_OF_OTHERS = r"birth|sign_?up|regist|join|releas|expir|publish|launch|update|modif|last|first|prev"
_HISTORIES = (
    r"hist|seq|recent|prev|past|events|views|viewed|clicks|clicked|pages|items|products|basket"
    r"|cart|list$|ids$"
)
# The day or the month first: no order in time.
_OTHER_DATE = r"^\d{1,2}([./-])\d{1,2}[./-](\d{4}|\d{2})(\D|$)"
_LOOKED_AT = 1_000
# Numbers from here on are dates: 20000101, or seconds since 1970.
_FIRST_DATE = 10_000_000
_TIMESTAMPS = (pa.timestamp("ns"), pa.timestamp("ns", "UTC"))
_NUMBER = r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$"
# Numbers as people write them: with a decimal comma, or marks between thousands; in a currency.
_AS_WRITTEN = tuple(
    rf"^[-+]? ?\p{{Sc}}? ?[-+]?{digits}([eE][-+]?\d+)? ?\p{{Sc}}?$"
    for digits in (
        r"(\d+([.,]\d*)?|[.,]\d+)",
        r"\d{1,3}(,\d{3})*(\.\d*)?",
        r"\d{1,3}(\.\d{3})*(,\d*)?",
    )
)
_NEARLY_ALL = 0.9
# What a file without types has for a missing number.
_MISSING = f"^(|{'|'.join(map(re.escape, MEANS_MISSING))})$"


@dataclass(eq=False)
class Column:
    """A column of the first rows of a table."""

    name: str
    values: pa.Array

    @cached_property
    def kind(self) -> str:
        """The kind of its values."""
        return type_name(self.values.type)

    def named(self, pattern: str) -> bool:
        """True if its name, in lower case with _ between words, holds the pattern."""
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()
        return re.search(pattern, name) is not None

    @cached_property
    def words(self) -> pa.Array:
        """Its values as text, each once."""
        return pc.drop_null(pc.unique(as_text(self.values)))

    @property
    def known(self) -> int:
        """Rows with a value."""
        return len(self.values) - self.values.null_count

    @property
    def is_plain(self) -> bool:
        """True for the types of categories and numbers."""
        return self.kind in ("text", "boolean", "integer", "float")

    @property
    def is_unique(self) -> bool:
        """True if each row has a different value, as an ID."""
        return self.kind in ("integer", "text") and len(self.words) == len(self.values)

    @cached_property
    def is_counter(self) -> bool:
        """True for the numbers of rows, in any order."""
        if self.kind != "integer" or not self.is_unique or len(self.values) < 3:
            return False
        ends = pc.min_max(self.values)
        return ends["max"].as_py() - ends["min"].as_py() == len(self.values) - 1

    @cached_property
    def label_pair(self) -> tuple[str, str] | None:
        """The words that are read as 1 and 0 if it is a label in text."""
        return pair_of(self.values)

    @cached_property
    def is_label(self) -> bool:
        """True for 0 and 1, or words for these, both of them unless its name is a label's."""
        if not self.is_plain:
            return False
        numbers: set[float | None] = set()
        with suppress(pa.ArrowException):
            labels = as_numbers(self.values, self.label_pair).cast(pa.float64(), safe=False)
            numbers = {*pc.unique(labels).to_pylist()}
        return bool(numbers) and numbers <= {0, 1} and (len(numbers) == 2 or self.named(LABELS))

    @property
    def is_category(self) -> bool:
        """True for texts, booleans, and numbers whose name says so."""
        is_code = self.kind in ("integer", "float") and self.named(_CATEGORIES)
        return self.kind in ("text", "boolean") or is_code

    @property
    def is_group(self) -> bool:
        """True for users and the like, if they come in several rows."""
        is_named = self.kind in ("text", "integer", "float") and self.named(GROUPS)
        return is_named and 1 < len(self.words) < self.known

    @cached_property
    def _as_time(self) -> pa.Array | None:
        """The values that are there, in a type that has the order of time, if they have such."""
        values = self.values.filter(pc.invert(self.values.is_null(nan_is_null=True)))
        is_date = self.kind == "timestamp" or pa.types.is_date(values.type)
        if not len(values) or not (is_date or self.kind in ("text", "integer", "float")):
            return None
        if self.kind == "text":
            return _cast(as_text(values), pa.int64(), *_TIMESTAMPS)
        return values.cast(pa.float64(), safe=False) if self.kind == "float" else values

    @property
    def is_date(self) -> bool:
        """True for timestamps, dates, and numbers of a time's name such as 20240131."""
        values = self._as_time
        if values is None or type_name(values.type) not in ("integer", "float"):
            return values is not None
        return self.named(TIMES) and pc.quantile(values)[0].as_py() >= _FIRST_DATE

    @property
    def may_be_time(self) -> bool:
        """True if each row can be ordered by it, and its type or name allows it to tell time."""
        values = self._as_time
        is_complete = values is not None and len(values) == len(self.values)
        return is_complete and (self.is_date or self.named(TIMES))

    @cached_property
    def is_time(self) -> bool:
        """True for points in time; not for durations, whose names hold the word time as well."""
        if not self.may_be_time or self._as_time is None:
            return False
        order = self._as_time.to_numpy(zero_copy_only=False)
        is_ascending = bool((order[1:] >= order[:-1]).all() and order[0] < order[-1])
        return self.is_date or self.named(_OF_ROW) or is_ascending

    @property
    def is_unreadable_date(self) -> bool:
        """True for text that looks like a date or has its name, and is none, such as 31/01/2024."""
        if self.kind != "text" or self._as_time is not None or not len(self.words):
            return False
        is_like = pc.match_substring_regex(self.words[:_LOOKED_AT], _OTHER_DATE)
        return self.named("(^|_)(date|datetime|timestamp)$") or bool(pc.all(is_like).as_py())

    @cached_property
    def odd_number(self) -> str | None:
        """What keeps a text that looks like numbers from being such: 'abc', '1,5'."""
        if self.kind != "text" or not len(self.words):
            return None
        alike = (pc.mean(pc.match_substring_regex(self.words, form)) for form in _AS_WRITTEN)
        odd = self.words.filter(pc.invert(pc.match_substring_regex(self.words, _NUMBER)))
        return (
            odd[0].as_py()
            if len(odd) and max(share.as_py() for share in alike) >= _NEARLY_ALL
            else None
        )

    @property
    def time_rank(self) -> tuple[bool, bool, bool]:
        """The lower, the more likely a point in time is that of the row."""
        is_typed = self.kind not in ("text", "integer", "float")
        return self.named(_OF_OTHERS), not self.named(_OF_ROW), not is_typed

    @property
    def is_of_others(self) -> bool:
        """True if its name says that it is no time of the row, but such as a date of birth."""
        return self.named(_OF_OTHERS)

    @cached_property
    def _parsed(self) -> tuple[Ragged, bool, str] | None:
        """Its rows as sequences, whether all tokens are integers, and their separator in text.

        None for numbers such as 12,000, unless the name is a history's.
        """
        if self.kind in ("list of ", "list of integer", "list of text"):
            return self._parsed_by("")
        if self.kind != "text" or (self.odd_number is not None and not self.named(_HISTORIES)):
            return None
        texts = pc.drop_null(as_text(self.values))
        has = (s for s in SEPARATORS if pc.any(pc.match_substring(texts, s)).as_py())
        return next(filter(None, map(self._parsed_by, has)), None)

    def _parsed_by(self, separator: str) -> tuple[Ragged, bool, str] | None:
        rows = np.arange(len(self.values))
        joined = separator or SEPARATORS[0]
        try:
            history, words = parse_sequences(
                self.values, self.name, "", rows, rows, separator=joined
            )
        except (UserError, pa.ArrowException):
            return None
        return history, not words, separator

    @property
    def history(self) -> Ragged | None:
        """Its rows as sequences, if they can be read as such."""
        return self._parsed and self._parsed[0]

    @property
    def separator(self) -> str:
        """What joins the tokens of its sequences in text; '' in lists."""
        return self._parsed[2] if self._parsed else ""

    @cached_property
    def event_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of its sequences, and how many events have each."""
        assert self.history is not None
        return np.unique(self.history.values.astype(np.int64), return_counts=True)

    @cached_property
    def token_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of its values as categories, and how many rows have each."""
        encoded = pc.drop_null(as_text(self.values)).dictionary_encode()
        tokens = tokens_of(codes_of(encoded.dictionary.to_pylist()))
        return tokens, np.bincount(encoded.indices.to_numpy(), minlength=len(tokens))

    @cached_property
    def is_prose(self) -> bool:
        """True for text that can be read as sequences and may well be none.

        Its words are joined by blanks, or all rows have as many: 'New York', 'Lyon,France'.
        """
        if not self._parsed or self.kind != "text" or self.named(_HISTORIES):
            return False
        history, are_integers, separator = self._parsed
        lengths = history.lengths[history.lengths > 0]
        return (separator == " " and not are_integers) or lengths.min() == lengths.max()

    @cached_property
    def has_times(self) -> bool:
        """True if its sequences may be times: integers of such a name, or large and ascending."""
        if not self._parsed or not self._parsed[1]:
            return False
        history = self._parsed[0]
        values = history.values.astype(np.int64)
        if self.named(TIMES) or not len(values):
            return self.named(TIMES)
        is_first = np.zeros(len(values), bool)
        is_first[history.offsets[:-1][history.lengths > 0]] = True
        is_ascending = is_first[1:] | (np.diff(values) >= 0)
        return bool(is_ascending.all()) and int(values.min()) >= _FIRST_DATE


def shared(history: Column, category: Column) -> float:
    """The share of events that are values of the category, or of rows whose value is an event.

    The smaller of the two, since small numbers are everywhere.
    """
    pairs = (
        (history.event_counts, category.token_counts),
        (category.token_counts, history.event_counts),
    )
    return min(
        float(counts[np.isin(tokens, others)].sum() / max(1, counts.sum()))
        for (tokens, counts), (others, _) in pairs
    )


def first_columns(train: RawTable, test: RawTable | None) -> tuple[list[Column], list[Column]]:
    """The columns of the first rows of both tables; without a test table, the train's twice.

    In files without types, such as CSV, a column has numbers or timestamps if all its values are
    such, in both tables. Raises UserError for a table without rows.
    """
    tables = [train, test] if test else [train]
    heads = [_head(table) for table in tables]
    if not any(table.has_types for table in tables):
        for name in {name for head in heads for name in head}:
            having = [head for head in heads if name in head]
            typed = [_typed(head[name]) for head in having]
            if any(type_name(values.type) == "text" for values in typed):
                typed = [as_text(head[name]) for head in having]
            for head, values in zip(having, typed):
                head[name] = values
    columns = [[Column(*item) for item in head.items()] for head in heads]
    return columns[0], columns[-1]


def _head(table: RawTable) -> dict[str, pa.Array]:
    head = table.head(ROWS)
    if not len(head):
        raise UserError(f"{table.location}: the file has no rows; give one with rows")
    return {name: head[name].combine_chunks() for name in head.column_names}


def _typed(values: pa.Array) -> pa.Array:
    """Texts as numbers or timestamps if all are; a leading zero is a code's, not a number's."""
    if type_name(values.type) != "text":
        return values
    is_missing = pc.match_substring_regex(values, _MISSING, ignore_case=True)
    texts = pc.if_else(is_missing, None, values)
    has_code = pc.any(pc.match_substring_regex(texts, "^[-+]?0[0-9]")).as_py()
    if has_code or texts.null_count == len(texts):
        return values
    typed = _cast(texts, pa.int64(), pa.float64(), *_TIMESTAMPS)
    return values if typed is None else typed


def _cast(texts: pa.Array, *types: pa.DataType) -> pa.Array | None:
    """The texts in the first of the types that all can have."""
    for arrow_type in types:
        with suppress(pa.ArrowException):
            return texts.cast(arrow_type)
    return None
