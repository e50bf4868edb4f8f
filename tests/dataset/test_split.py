"""Rows held out by time and by group, beside plain loops that say what that means."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feseq.common.errors import UserError
from feseq.config.sampling import Sampling, Split
from feseq.dataset.sampling import draw, select_within
from feseq.dataset.selection import HOLDOUT, TRAIN, VALIDATION, Selection
from feseq.dataset.split import PERIODS, periods, read_groups, read_times
from feseq.raw.reading import RawTable
from support.raw_tables import selected, write_raw


def clicks(rows: int, seed: int = 0) -> np.ndarray:
    """Labels with a third of clicks."""
    return (np.random.default_rng(seed).random(rows) < 1 / 3).astype(np.int8)


def drawn_from(folder: Path, columns: dict[str, Any], split: Split, **options: Any) -> Selection:
    file = RawTable(write_raw(folder, pa.table(columns), row_group_size=100))
    sampling = Sampling(split=split, **{"valid_share": 0.2, "seed": 1} | options)
    return next(draw(file, "y", None, sampling, [0, file.rows]))


@pytest.fixture(scope="module")
def users() -> dict[str, Any]:
    """600 rows in the order of time, of 150 users who come in bursts, some of whom return."""
    random = np.random.default_rng(3)
    first = random.integers(0, 500, 150)
    user = random.integers(0, 150, 600)
    time = first[user] + random.integers(0, 60, 600)
    return {"y": clicks(600), "t": time, "u": [f"user {i}" for i in user]}


@pytest.mark.parametrize(("group", "share"), [(None, 0.2), ("u", 0.4)])
def test_by_time_the_newest_rows_are_held_out_but_of_groups_that_have_older_ones(
    tmp_path: Path,
    users: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    group: str | None,
    share: float,
) -> None:
    with caplog.at_level(logging.INFO):
        drawn = drawn_from(tmp_path, users, Split(time="t", group=group), valid_share=share)
    time = users["t"][drawn.row]
    cut = time[drawn.is_valid].min()
    older = {u for t, u in zip(users["t"], users["u"]) if group and t < cut}
    expected = [
        TRAIN if t < cut else -1 if u in older else VALIDATION
        for t, u in zip(users["t"], users["u"])
    ]
    found = np.full(600, -1)
    found[drawn.row] = drawn.part
    assert found.tolist() == expected
    if group:
        assert f"{expected.count(-1)} of 600 rows FALL OUT" in caplog.text
    else:
        assert abs(drawn.is_valid.mean() - share) < 0.01
        assert np.bincount(drawn.period) == pytest.approx([600 / PERIODS] * PERIODS, rel=0.1)
    # Rows of a later period are newer.
    order = np.argsort(time, kind="stable")
    assert (np.diff(drawn.period[order].astype(int)) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 30), min_size=1, max_size=90))
def test_periods_ascend_with_time_and_keep_one_time_together(times: list[int]) -> None:
    found = periods(np.array(times))
    for time, period in zip(times, found):
        assert {int(p) for t, p in zip(times, found) if t == time} == {int(period)}
        assert all(p <= period for t, p in zip(times, found) if t < time)
    distinct = len(set(times))
    assert found.max() < PERIODS
    if distinct <= PERIODS:
        assert len(set(found.tolist())) == distinct


def test_by_group_no_group_is_on_both_sides(tmp_path: Path, users: dict[str, Any]) -> None:
    drawn = [
        drawn_from(tmp_path, users, Split(group="u"), seed=seed, holdout_share=0.4)
        for seed in (1, 2)
    ]
    for found in drawn:
        group = np.array(users["u"])[found.row]
        parts = [{*group[found.part == part]} for part in (TRAIN, VALIDATION, HOLDOUT)]
        assert sum(map(len, parts)) == len({*users["u"]})
        assert abs(found.is_valid.mean() - 0.2) < 0.02
        assert not found.period.any()
    assert not np.array_equal(drawn[0].part, drawn[1].part)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_size_is_drawn_within_the_split_by_its_shares(data: st.DataObject) -> None:
    total = data.draw(st.integers(20, 300), "total")
    random = np.random.default_rng(total)
    part = random.choice([-1, TRAIN, VALIDATION, HOLDOUT], total).astype(np.int8)
    part[:6] = [TRAIN, TRAIN, VALIDATION, VALIDATION, HOLDOUT, HOLDOUT]
    labels = (random.random(total) < data.draw(st.floats(0, 1), "rate")).astype(np.uint8)
    labels[:6] = [0, 1, 0, 1, 0, 1]
    inside = int((part >= 0).sum())
    rows = data.draw(st.none() | st.integers(min(20, inside), inside + 5), "rows")
    seed = data.draw(st.integers(0, 9), "seed")
    period = random.integers(0, 9, total).astype(np.uint8)
    (drawn,) = select_within(labels, part, period, rows, seed, [0, total])
    count = inside if rows is None else min(rows, inside)
    assert len(np.unique(drawn.row)) == len(drawn.row) == count
    assert np.array_equal(part[drawn.row], drawn.part)
    assert np.array_equal(period[drawn.row], drawn.period)
    valid = drawn.is_valid
    for of_file in (~valid, valid):
        assert sorted(drawn.position[of_file]) == list(range(of_file.sum()))
    for number in (TRAIN, VALIDATION, HOLDOUT):
        there, taken = labels[part == number], labels[drawn.row[drawn.part == number]]
        assert set(taken) == {0, 1}
        # Two of each part at least, which the largest part pays for.
        assert abs(len(taken) - len(there) * count / inside) <= 5
        assert abs(taken.sum() - len(taken) * there.mean()) <= 1


def test_of_one_last_day_holdout_rows_are_drawn_and_of_two_they_are_newer(
    tmp_path: Path,
) -> None:
    day = np.repeat([3, 1, 2, 10], 100)
    columns = {"y": clicks(400), "day": [str(d) for d in day]}
    one = drawn_from(tmp_path, columns, Split(time="day", last=1), holdout_share=0.3)
    assert np.bincount(one.part).tolist() == [300, 70, 30]
    assert set(day[one.row[one.is_valid]]) == {10}
    two = drawn_from(tmp_path, columns, Split(time="day", last=2), holdout_share=0.3)
    assert [set(day[two.row[two.part == p]]) for p in range(3)] == [{1, 2}, {3}, {10}]


def test_holdout_rows_are_taken_from_those_held_out_alone() -> None:
    labels = clicks(1000).astype(np.uint8)
    plain, apart = (
        selected(labels, 500, valid_share=0.2, holdout_share=share) for share in (0, 0.5)
    )
    for name in ("row", "is_valid", "position"):
        assert np.array_equal(getattr(plain, name), getattr(apart, name))
    assert np.bincount(apart.part).tolist() == [400, 50, 50]
    with pytest.raises(UserError, match=r"sampling\.holdout_share"):
        selected(labels, 20, valid_share=0.05, holdout_share=0.5)


DATES = ["2024-01-09", "2024-01-10", "2023-12-31", "2024-01-10"]
# A column, and the order of its values.
TIMES: list[tuple[pa.Array, list[int]]] = [
    (pa.array(["9", "10", "2", "10"]), [1, 2, 0, 2]),
    (pa.array(["20240109", "20240110", "20231231", "20240110"]), [1, 2, 0, 2]),
    (pa.array(["2024-01-10T00:00:01.5Z", "2024-01-10T00:00:01Z"]), [1, 0]),
    (pa.array(["20240131123456002", "20240131123456001", "20240131123456000"]), [2, 1, 0]),
    (pa.array(["2024-01-09 01:00:00+0900", "2024-01-08 20:00:00Z"]), [0, 1]),
    (pa.array(["2024-01-09T20:00-05:00", "2024-01-10T01:00-03:00"]), [0, 1]),
    (pa.array(DATES), [1, 2, 0, 2]),
    (pa.array(DATES).dictionary_encode(), [1, 2, 0, 2]),
    (pa.array(DATES).cast(pa.date32()), [1, 2, 0, 2]),
    (pa.array(DATES).cast(pa.timestamp("ns")), [1, 2, 0, 2]),
    (pa.array([9, 10, 2**53 + 1, 2**53 + 2], pa.int64()), [0, 1, 2, 3]),
    (pa.array([0, 1, 2**63, 2**63 + 1], pa.uint64()), [0, 1, 2, 3]),
    (pa.array([0.5, 0.75, -1, 0.75], pa.float32()), [1, 2, 0, 2]),
]
# Those that need not be in the order of time.
NO_TIMES: list[list[Any]] = [
    [31122023, 1012024],
    ["12312023", "01012024"],
    [122023, 12024],
    [31122023235959, 1012024000000],
    [*[31012024, 1022024] * 10, 0],
    ["311220232359", "010120240000"],
    ["3112202323", "0101202400"],
    [31122023235959000, 1012024000000000],
    [1706659200, 1706659260, 1706659300000],
    ["20240131", "2024020112"],
    ["31.12.24", "01.01.25"],
    ["2024-01-01 20:00:00 (GMT+9)", "2024-01-01 13:00:00 (GMT+0)"],
    ["v1.9", "v1.10"],
]


@pytest.mark.parametrize(("column", "order"), [*TIMES, *((words, None) for words in NO_TIMES)])
def test_times_of_any_type_have_their_order_or_are_refused(
    tmp_path: Path, column: Any, order: list[int] | None
) -> None:
    raw = RawTable(write_raw(tmp_path, pa.table({"t": column}), row_group_size=3))
    if order is None:
        with pytest.raises(UserError, match=r"column 't'.*2024-01-31"):
            read_times(raw, "t")
    else:
        assert np.unique(read_times(raw, "t"), return_inverse=True)[1].tolist() == order


def test_groups_are_equal_where_their_texts_are_and_none_are_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lists = [[1, 2], [1], [], None, [1, 2], [12], [], [1]]
    texts = [None if row is None else ",".join(map(str, row)) for row in lists]
    numbers = [1.0, 1, 2, None, 1, 12, 2, 1]
    kinds = [pa.list_(pa.int32()), pa.large_list(pa.uint16()), pa.list_(pa.string())]
    columns = {str(kind): pa.array(lists, kinds[0]).cast(kind) for kind in kinds}
    raw = RawTable(write_raw(tmp_path, pa.table({"g": texts, "n": numbers} | columns)))
    groups = read_groups(raw, "g", 7)
    assert "3 rows have no g" in caplog.text
    assert np.unique(groups, return_counts=True)[1].tolist().count(2) == 2
    assert groups[0] == groups[4] != groups[1] == groups[7]
    for name in columns:
        found = read_groups(raw, name, 7)
        assert np.array_equal(np.equal.outer(found, found), np.equal.outer(groups, groups))
    assert read_groups(raw, "n", 7)[5] == groups[5] != read_groups(raw, "g", 8)[5]


BAD = {
    "y": np.where(np.arange(40) < 30, clicks(40), 0),
    "one": ["2024-01-31"] * 40,
    "gaps": [1.0, None, float("nan"), *range(37)],
    "blanks": ["8", ""] * 20,
    "odd": [str(8 + i % 10) for i in range(38)] + ["n/a", "none"],
    "endless": [1.0, 2, float("inf"), *range(37)],
    "clock": pa.array(range(40), pa.int32()).cast(pa.time32("ms")),
    "list": [[0.5]] * 40,
    "nulls": [[1, None]] * 40,
    "NUL": [["a\0b"], ["a", "b"]] * 20,
    "t": [*range(40)],
    "all": ["u", "v"] * 20,
    "bytes": pa.array([b"\xff"] * 40).view(pa.string()),
}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(time="day"), r"'day'.*sampling\.split\.time"),
        (Split(group="user"), r"'user'.*sampling\.split\.group"),
        (Split(time="one"), r"'one'.* 40 rows"),
        (Split(time="gaps"), r"'gaps'.* row 1"),
        (Split(time="blanks"), r"'blanks': .*''"),
        (Split(time="odd"), r"'odd': row 38: .*'n/a'"),
        (Split(time="endless"), r"'endless': row 2 "),
        (Split(time="clock"), r"'clock': type time32"),
        (Split(time="list"), r"'list'.* list<"),
        (Split(group="list"), r"'list'.* list<"),
        (Split(group="nulls"), r"'nulls'.* list<.*missing"),
        (Split(group="NUL"), r"'NUL'.* list<.*NUL"),
        (Split(time="bytes"), r"'bytes'.*utf-8"),
        (Split(time="t"), r"split by t.*validation rows \(0 clicks"),
        (Split(time="t", last=40), r"'t'.*sampling\.split\.last"),
        (Split(time="t", group="all"), r"8 rows fall"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_what_there_is(
    tmp_path: Path, split: Split, message: str
) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        drawn_from(tmp_path, BAD, split)
    assert "raw.parquet" in str(refusal.value)
