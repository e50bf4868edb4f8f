"""Odd and damaged inputs for fuzz.py: bytes, columns, tables, configs."""

import copy
import datetime
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = ["", "0", "1", "1.0", "1,2", "7,,8", ",", "x", " 1", "-5", "nan", "NULL", "1e3", "yes"]
TEXTS += ["٣", "\ufeff", "日本", "9" * 18, "9" * 40, "3," * 999 + "3", 'a"b', "a\nb", "\r"]
FLOATS = [0.0, -0.0, 1.0, 0.5, -1e9, 1e300, 5e-324, math.nan, math.inf, -math.inf, None]
TIMES = [datetime.datetime(2024, 5, 6, 7), datetime.datetime(1969, 1, 1), None]
ZONES = [None, "UTC", "+09:00", "Asia/Seoul", "No/Where"]
# What stands in a config by mistake, and what YAML can make of a text.
JUNK = [None, True, -1, 0, 1, 3, 1.5, math.nan, math.inf, 10**30, 10**400, b"x", {"x"}]
JUNK += ["", "x", "1e-3", "{3..1}", "c_{1..3}", "c_{1..99999999999}", "{1..2}{3..4}", "ID", "seq"]
JUNK += [[], [[]], ["x", "x"], [None], ["c_{1..99999999999}"], datetime.date(2024, 1, 1)]
JUNK += [{}, {"x": {"y": []}}, {1: 2}, {"seq": None}, {"seq": "ID"}, {"x": "y", "z": "y"}]
PIECES = [b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\n", b'"', b",", b";", b"\t", b": "]
PIECES += [b"- ", b"{", b"[", b"&a ", b"*a", b"99999999999", b"-1", b".nan", b"null", b"\0" * 50]


def mutated(data: bytes, random: Random, most: int) -> bytes:
    """`data` with up to `most` places changed, copied or cut out, perhaps cut off."""
    for _ in range(random.randint(1, most)):
        # Often in the last part, where parquet says what is where.
        first = random.choice([0, max(0, len(data) - 2_000)])
        start = random.randint(first, len(data))
        stop = min(len(data), start + random.choice([0, 1, 1, 1, 4, 60]))
        other = random.randint(0, len(data))
        byte = bytes([random.randrange(256)])
        piece = random.choice([byte, byte, random.choice(PIECES), data[other : other + 60]])
        if random.random() < 0.7:  # Nothing behind it moves.
            stop = min(len(data), start + len(piece))
        data = data[:start] + piece + data[stop:]
    return data[: random.randint(0, len(data))] if random.random() < 0.05 else data


def plain_columns(rows: int, random: Random) -> dict[str, pa.Array]:
    """Every column of a table with times, as it should be."""

    def draw(choices: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([random.choice(choices) for _ in range(rows)], kind)

    lengths = [random.randrange(7) for _ in range(rows)]
    events = [
        [random.randrange(10 ** random.choice([1, 3, 12])) for _ in range(n)] for n in lengths
    ]
    when = [random.randrange(10**9) for _ in range(rows)]
    times = [",".join([str(moment)] * length) for moment, length in zip(when, lengths)]
    return {
        "uid": pa.array([f"U{i:03d}" for i in random.sample(range(rows), rows)], pa.string()),
        "events": pa.array([",".join(map(str, values)) or None for values in events], pa.string()),
        "times": pa.array(times, pa.string()),
        "country": draw(["KR", "US", "", None], pa.string()),
        "price": draw([0.0, 1.0, 2.5, -1e9, None], pa.float32()),
        "item": draw([0, 1, 77, None], pa.int64()),
        "when": pa.array(when, pa.int64()),
        "y": pa.array([int(i % 3 == 0) for i in range(rows)], pa.int8()),
    }


def odd_column(rows: int, random: Random) -> pa.Array:
    """A column of any type that parquet has, with any values."""

    def draw(choices: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([random.choice(choices) for _ in range(rows)], kind)

    kind = random.choice([pa.int8(), pa.uint8(), pa.int16(), pa.int64(), pa.uint64()])
    ends = np.iinfo(kind.to_pandas_dtype())
    integers = draw(
        random.choice([[0, 1], [0, 1, None], [int(ends.min), int(ends.max), None]]), kind
    )
    some = [[*TEXTS, None], [*TEXTS, "a\0b"], ["0", "1"], ["1.0", "0.0"], ["no", "yes"]]
    texts = draw(random.choice(some), pa.string())
    no_texts = draw([b"\xff\xfe", b"1,2", b""], pa.binary())
    moments = pa.timestamp(random.choice(["s", "ms", "us", "ns"]), random.choice(ZONES))
    return random.choice(
        [
            integers,
            integers.dictionary_encode(),
            pa.array(range(rows), pa.int32()),
            draw(FLOATS, random.choice([pa.float16(), pa.float32(), pa.float64()])),
            texts.cast(random.choice([pa.string(), pa.large_string(), pa.string_view()])),
            texts.cast(random.choice([pa.binary(), pa.large_binary()])),
            texts.dictionary_encode(),
            no_texts,
            no_texts.view(pa.string()),
            no_texts.view(pa.string()).dictionary_encode(),
            draw([b"abc", None], pa.binary(3)),
            draw([True, False, None], pa.bool_()),
            pa.nulls(rows),
            draw([Decimal(1), Decimal("-2.5"), None], pa.decimal128(38, 9)),
            draw([Decimal(0), Decimal(10**60)], pa.decimal256(76, 2)),
            draw([0, 1, 10**9 + 1, -1, None], pa.int64()).cast(moments),
            draw(TIMES[:2], pa.timestamp("s")).cast(pa.date32(), safe=False),
            draw([datetime.timedelta(1), None], pa.duration("us")),
            draw([datetime.time(1, 2), None], pa.time64("us")),
            draw([[], [1, 2], None], pa.list_(pa.int64())),
            draw([{"a": 1}, None], pa.struct({"a": pa.int8()})),
        ]
    )


def write_table(path: Path, random: Random, oddness: float) -> pa.Table:
    """A table as parquet, each column odd, missing or doubled with a share of `oddness`."""
    rows = random.choice([0, 1, 6, 40, 40, 40, 200])
    columns = plain_columns(rows, random) | {"unused": odd_column(rows, random)}
    pairs = []
    for name, column in columns.items():
        given = odd_column(rows, random) if random.random() < oddness else column
        pairs += [(name, given)] * random.choices([1, 0, 2], [1, oddness / 8, oddness / 8])[0]
    random.shuffle(pairs)
    table = pa.Table.from_arrays([column for _, column in pairs], [name for name, _ in pairs])
    pq.write_table(
        table,
        path,
        row_group_size=random.choice([1, 7, 1_000]),
        compression=random.choice(["none", "none", "snappy", "zstd", "gzip"]),
        use_dictionary=random.random() < 0.7,
        data_page_size=random.choice([1, 100, 1 << 20]),
        data_page_version=random.choice(["1.0", "2.0"]),
        store_schema=random.random() < 0.7,
    )
    return table


def mutated_config(config: dict[str, Any], random: Random) -> dict[str, Any]:
    """A copy with some keys removed, renamed, or with a value that belongs elsewhere."""
    config = copy.deepcopy(config)
    for _ in range(random.choice([0, 1, 1, 1, 2, 4])):
        place, key = random.choice(list(_spots(config)))
        other, there = random.choice(list(_spots(config)))
        value = copy.deepcopy(random.choice([random.choice(JUNK), other[there]]))
        if random.random() < 0.2:
            del place[key]
        elif random.random() < 0.3 and isinstance(place, dict):
            place[random.choice([f"{key}s", str(key).upper(), 1, None, True, 1.5, ()])] = value
        elif random.random() < 0.3 and isinstance(place[key], list):
            place[key].append(value)
        else:
            place[key] = value
    return config


def _spots(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (mapping or list, key or place)."""
    is_list = isinstance(node, list)
    for key in range(len(node)) if is_list else list(node) if isinstance(node, dict) else ():
        yield node, key
        yield from _spots(node[key])
