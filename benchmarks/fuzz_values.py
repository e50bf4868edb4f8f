"""Fuzz targets for raw values: what parquet refuses, a served row may not hold, and the reverse."""

import datetime
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feseq.common.errors import UserError
from feseq.serve.rows import RowTable
from feseq.storage.block import Block
from feseq.storage.conversion import convert_test
from feseq.storage.opening import open_table
from support.raw_tables import with_roles

COLUMNS = with_roles(event_time="when", row_time="now")
ROW = {"country": "KR", "price": 0.5, "age": 30, "item": 7, "events": [7, 9, 7]}
ROW |= {"when": [10, 20, 30], "now": 85}
EDGES = [
    0,
    7,
    *(10**k for k in (4, 17, 18, 19, 400)),
    *(2**k for k in (24, 31, 53, 62, 63, 64, 70)),
]
# With digits of other scripts, and half of a pair of UTF-16.
TEXTS = [
    *("", "7", "007", "7.0", "-1", "1e3", "nan", "None", "a7", "日本"),
    *("\u0667", "\uff17", "a\0b", "\ud800"),
]
AROUND = ["", "", " ", "\n", "\t", "\v", "\xa0", ",", ";", "|", "[", '"', "\0", "é"]
DAY = datetime.datetime(2026, 11, 28, 9, 30)
ODD = [
    *(None, pd.NA, pd.NaT, b"7", bytearray(b"7"), True, np.bool_(False), 1 + 2j, object()),
    *({}, {"a": 1}, {7, 8, 9}, frozenset("789"), range(7, 10)),
    *(DAY, DAY.replace(tzinfo=datetime.UTC), DAY.date(), DAY.time(), DAY - DAY),
    *(pd.Timestamp(DAY), np.datetime64(DAY), np.array(7), np.array([7, 8, 9], np.uint16)),
    *(np.array([[7], [8], [9]]), np.array(["7", "b", "9"])),
    *(pd.Series([7, 8, 9]), pd.Series([7, 8, 9], [3, 4, 5])),
]
EMPTY = ["", [], [None, None, None], np.array([]), np.array([], np.int8), np.array([], np.str_)]


def integer(random: Random) -> int:
    return random.choice((1, 1, 1, -1)) * (random.choice(EDGES) + random.randint(-1, 1))


def floating(random: Random) -> float:
    return random.choice([float("nan"), float("inf"), -0.0, 7.0, 0.1, 1e-320, 1e300, 2.0**63])


def text(random: Random) -> str:
    ends = random.choice(AROUND), random.choice(AROUND)
    return random.choice((random.choice(TEXTS), str(integer(random)))).join(ends)


def scalar(random: Random) -> Any:
    """A value that a category or a number could be, or an odd one."""
    kind = random.randrange(7)
    if kind < 3:
        return (integer, floating, text)[kind](random)
    if kind == 3:
        return random.choice([Decimal("7"), Decimal("7.00"), Decimal("0.50"), Decimal("NaN")])
    if kind == 4:
        made = random.choice([np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64])
        return made(random.choice([0, 1, 7, 100]))
    if kind == 5:
        return random.choice([np.uint64(2**64 - 1), np.uint64(2**63), np.str_("7"), "item 1"])
    return random.choice([*ODD, (event for event in (7, 8, 9))])


def sequence(random: Random) -> Any:
    """A list, tuple or text of three events, or of none."""
    if random.random() < 0.1:
        return random.choice(EMPTY)
    events = [random.choice([integer, text, scalar])(random) for _ in range(3)]
    if random.random() < 0.5:
        events[1:] = [7, 9] if random.random() < 0.7 else ["a", "9"]
    if random.random() < 0.4:
        return ",".join(map(str, events))
    return random.choice([list, tuple])(events)


def raw_values(folder: Path) -> Callable[[Random], tuple[str, Callable[[], str]]]:
    """A value in a column: parquet and a served row agree on what it is, or both refuse it."""

    def draw(random: Random) -> tuple[str, Callable[[], str]]:
        column = random.choice([*ROW, "events", "when"])
        is_list = column in ("events", "when") and random.random() < 0.7
        value = (sequence if is_list else scalar)(random)
        row = {**ROW, column: value}
        if is_list and random.random() < 0.3:  # else an empty one is shorter than the other
            row |= {"events": value, "when": value}
        return f"{column}={value!r}", lambda: compare(folder / "test.parquet", row, column)

    return draw


def compare(path: Path, row: Mapping[str, Any], column: str) -> str:
    """The class of this row, whose `column` is drawn."""
    served = block_or_none(lambda: RowTable([row], COLUMNS, False).block)
    beside = block_or_none(lambda: RowTable([ROW, row], COLUMNS, False).block.slice(1, 2))
    if beside is not None:  # else it is of another type than the value in ROW
        found = difference(served, beside)
        assert found is None, f"alone and beside: {found}"
    raw = parquet_of(row, column)
    if raw is None:
        return "not in parquet, refused" if served is None else "not in parquet, taken"
    pq.write_table(raw, path)
    converted = block_or_none(lambda: convert(path))
    if converted is not None:
        converted = converted.slice(len(raw) - 1, len(raw))
    found = difference(served, converted)
    assert found is None, f"served and from parquet: {found}"
    return "refused" if served is None else "taken"


def block_or_none(make: Callable[[], Block]) -> Block | None:
    """None if it is refused."""
    try:
        return make()
    except UserError:
        return None


def parquet_of(row: Mapping[str, Any], column: str) -> pa.Table | None:
    """This row alone, or behind a good one if its value is missing; None if no type holds it.

    Arrow rounds some values of a list of several types, and such a list is no column of parquet; a
    set it puts into some order.
    """
    value = row[column]
    if isinstance(value, set) or (
        isinstance(value, list | tuple) and len(set(map(type, value))) > 1
    ):
        return None
    try:
        drawn = pa.array([value], from_pandas=True)
        rows = [ROW, row] if drawn.null_count else [row]
        names = {name: [each[name] for each in rows] for name in ROW if name != column}
        drawn = drawn if len(rows) == 1 else pa.array([ROW[column], None])
        table = pa.table({column: drawn, "uid": ["A", "B"][: len(rows)], **names})
        pq.write_table(table, pa.BufferOutputStream())
        return table
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return None


def convert(path: Path) -> Block:
    """What conversion makes of a file."""
    h5 = path.with_suffix(".h5")
    convert_test(path, COLUMNS, h5)
    with open_table(h5) as table:
        return table.read(0, table.rows)


def difference(one: Block | None, other: Block | None) -> str | None:
    """What differs between two blocks of one row; None if nothing does."""
    if one is None or other is None:
        return None if one is other else f"one refused, the other {(one or other)!r:.120}"
    for name in ("numeric", "categorical", "time"):
        pair = getattr(one, name), getattr(other, name)
        if not np.array_equal(*pair, equal_nan=name == "numeric"):
            return f"{name} {pair[0]} and {pair[1]}"
    for name in one.sequences:
        events = one.sequences[name].values.tolist(), other.sequences[name].values.tolist()
        if events[0] != events[1]:
            return f"{name} {events[0]} and {events[1]}"
    return None
