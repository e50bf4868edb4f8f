"""Which columns of a table's first rows are histories, their items, and their events' times."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..common.errors import UserError
from ..storage.raw_values import as_seconds
from .first_rows import GROUPS, Column, shared
from .table_file import scalar

# An item's column and a history share at least this much of each other's values. Small numbers of
# other meaning do so too, so numbers that are not named like items share nearly all of several.
SHARED, _NEARLY_ALL, _SEVERAL = 0.3, 0.9, 20
_ITEMS = (
    r"(^|_)(item|product|inventory|sku|article|video|movie|film|song|track|news|book|ad|advert"
    r"|creative|page|listing|target|candidate)(_?(id|idx|no|num|number|key|code))?$"
)
_NO_ITEMS = (
    r"(^|_)(hour|weekday|day|day_of_week|month|year|age|gender|sex|group|country|region|city|zone"
    rf"|os|device|channel)$|{GROUPS}"
)
# Events lie before their row in this share of rows, and their times are at most so many times
# smaller: seconds are not milliseconds.
_BEFORE, _OTHER_UNIT = 0.95, 10


@dataclass
class Histories:
    """Histories with their items, those that share their items' values, and the events' times.

    `by_name` are matched by the item's name alone; `left_out` says why others are in no role.
    """

    targets: dict[str, str] = field(default_factory=dict)
    share: list[str] = field(default_factory=list)
    times: dict[str, str] = field(default_factory=dict)
    separator: str = ""
    by_name: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def is_history(column: Column, others: Sequence[Column]) -> bool:
    """True for sequences; text that may be prose needs a category that shares its words."""
    if column.history is None or not column.is_prose:
        return column.history is not None
    return any(c is not column and c.is_category and shared(column, c) >= SHARED for c in others)


def match(
    histories: Sequence[Column], others: Sequence[Column], row_times: Sequence[Column]
) -> Histories:
    """The histories with their items among the other columns, and times among `row_times`.

    The first history, one that shares its item's values if there is such, says how long all are in
    each row and what joins their tokens.
    """
    matched, free = Histories(), list(others)
    kept: list[Column] = []
    events = [column for column in histories if not column.has_times]
    events.sort(key=lambda column: not any(_is_shared(column, c) for c in free))
    for column in events:
        why = _unlike(kept, column)
        item = None if why else _item(column, free)
        if item is None:
            matched.left_out[column.name] = why or _without_item(column, free)
            continue
        kept.append(column)
        free.remove(item)
        matched.targets[column.name] = item.name
        (matched.share if _is_shared(column, item) else matched.by_name).append(column.name)
    for column in (column for column in histories if column.has_times):
        fits = [] if _unlike(kept, column) else [c for c in row_times if _are_before(column, c)]
        if kept and fits and not matched.times:
            matched.times[column.name] = fits[0].name
            kept.append(column)
        else:
            matched.left_out[column.name] = "times of events? See `times` in config/README.md"
    matched.separator = next((c.separator for c in kept if c.separator), "")
    return matched


def _unlike(kept: Sequence[Column], column: Column) -> str:
    """Why a column cannot stand beside the histories that are kept, or ''."""
    history = column.history
    for other in kept:
        assert history is not None
        assert other.history is not None
        if not np.array_equal(history.offsets, other.history.offsets):
            return f"not as long as {scalar(other.name)} in each row"
        if column.separator and other.separator and column.separator != other.separator:
            return (
                f"its tokens are joined by {scalar(column.separator)}, and those of "
                f"{scalar(other.name)} by {scalar(other.separator)}; write them alike"
            )
    return ""


def _is_shared(history: Column, column: Column) -> bool:
    """True if the history's events are values of the column."""
    if column.kind == "text" or (column.is_category and not column.named(_NO_ITEMS)):
        return column.is_category and shared(history, column) >= SHARED
    is_several = column.kind == "integer" and len(column.words) > _SEVERAL
    return is_several and shared(history, column) >= _NEARLY_ALL


def _item(history: Column, columns: Sequence[Column]) -> Column | None:
    """The column that shares most values with the history, else one that is named like an item."""
    if likely := [column for column in columns if _is_shared(history, column)]:
        return max(likely, key=lambda column: shared(history, column))
    named = [column for column in columns if column.is_category and column.named(_ITEMS)]
    return max(named, key=lambda column: len(column.words), default=None)


def _without_item(history: Column, columns: Sequence[Column]) -> str:
    nearest = [c for c in columns if c.is_category and not c.named(_NO_ITEMS)]
    nearest = nearest or [column for column in columns if column.is_category]
    best = max(nearest, key=lambda column: len(column.words), default=None)
    why = "a history needs the column of the row's item, and none has values of it or such a name"
    if best is None:
        return why
    name = scalar(best.name)
    return f"{why}; or sequences: {{{scalar(history.name)}: {name}}}, and {name} in no other role"


def _are_before(events: Column, row: Column) -> bool:
    """True if the events' times are in the unit of the row's time, and before it."""
    history = events.history
    assert history is not None
    try:
        now = as_seconds(row.values, row.name, "", np.arange(len(row.values)))
    except UserError:
        return False
    has_events = history.lengths > 0
    if not has_events.any():
        return False
    newest, now = (
        history.values[history.offsets[1:][has_events] - 1].astype(np.int64),
        now[has_events],
    )
    is_unit = np.median(newest) * _OTHER_UNIT >= np.median(now)
    return bool(is_unit and (newest <= now).mean() >= _BEFORE)
