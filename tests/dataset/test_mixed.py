"""Several files as one table: each row once, spread evenly, as the raw table has it."""

import os
import resource
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feseq.common.errors import UserError
from feseq.config.sampling import Split
from feseq.dataset import conversion, shuffle
from feseq.dataset.block import Block
from feseq.dataset.mixed import SPREAD_TOGETHER, Order, Spread, open_files
from feseq.dataset.opening import AllRows, open_table
from feseq.dataset.store import H5Table
from support.raw_tables import as_lists, raw_table, split_events, to_train_parts

COUNTS = st.lists(st.integers(0, 40) | st.integers(0, 3), min_size=1, max_size=12)


@given(counts=COUNTS.filter(any), data=st.data())
def test_rows_are_spread_evenly_and_found_wherever_one_begins(
    counts: list[int], data: st.DataObject
) -> None:
    total = sum(counts)
    spread = Spread(np.zeros(len(counts), int), np.array(counts))
    # The plain way: all rows sorted by where they stand, as exact fractions of 2 ** 31.
    places = [
        (((2 * i + 1) << 31) // (2 * n), file, i) for file, n in enumerate(counts) for i in range(n)
    ]
    expected = [(file, i) for _, file, i in sorted(places)]
    bounds = data.draw(st.lists(st.integers(0, total), max_size=4), "bounds")
    found = []
    for start, stop in pairwise(sorted({0, total, *bounds})):
        ranges, place = spread.find(start, stop)
        rows = [(file, i) for file, first, last in ranges for i in range(first, last)]
        found += [rows[i] for i in np.argsort(place)]
    assert found == expected
    for row in range(total):
        before = np.bincount([file for file, _ in expected[:row]], minlength=len(counts))
        share = np.array(counts) * row / total
        assert np.abs(before - share).max() <= 1 + max(counts) * len(counts) / (2 * total)


def test_a_billion_rows_in_a_thousand_stretches_are_found_exactly() -> None:
    order = Order([(1_000_003, 1_000_003)] * 999 + [(7, 7)])
    for start in (0, 123_456_789, order.rows - 1_000):
        ranges, place = order.find(start, start + 1_000)
        assert len(ranges) <= SPREAD_TOGETHER
        assert sum(last - first for _, first, last in ranges) == 1_000
        assert sorted(place) == list(range(1_000))


def test_each_group_of_stretches_has_one_of_neighbours() -> None:
    order = Order([(1_000, 1_000)] * 3 * SPREAD_TOGETHER)
    groups = set()
    for start in range(0, order.rows, 1_000):
        ranges, _ = order.find(start, start + 1_000)
        numbers = [number for number, _, _ in ranges]
        if len(numbers) == SPREAD_TOGETHER:
            assert [number // 3 for number in numbers] == [*range(SPREAD_TOGETHER)]
            groups.add(tuple(numbers))
    assert len(groups) == 3
    assert len({number for numbers in groups for number in numbers}) == 3 * SPREAD_TOGETHER


@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=3 * SPREAD_TOGETHER), data=st.data())
def test_each_row_of_many_stretches_has_one_place_those_that_judge_the_last(
    counts: list[int], data: st.DataObject
) -> None:
    choosing = [data.draw(st.integers(0, count)) for count in counts]
    order = Order([*zip(counts, choosing)])
    found = []
    step = data.draw(st.integers(1, 300), "step")
    for start in range(0, order.rows, step):
        ranges, place = order.find(start, min(start + step, order.rows))
        rows = [(file, i) for file, first, last in ranges for i in range(first, last)]
        found += [rows[i] for i in np.argsort(place)]
    assert sorted(found) == [(file, i) for file, n in enumerate(counts) for i in range(n)]
    chooses = [i < choosing[file] for file, i in found]
    assert chooses == sorted(chooses, reverse=True)
    assert order.choosing_rows == sum(chooses)
    # Rows of one file and kind keep their order.
    for file in range(len(counts)):
        assert [i for f, i in found if f == file] == list(range(counts[file]))


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """300 rows; each item is in a few neighbouring ones alone, so parts have other vocabularies."""
    return raw_table(300, item=[f"item {i // 25}" for i in range(300)])


@pytest.fixture(scope="module", params=[1 << 28, 800], ids=["in memory", "in stretches"])
def files(
    table: pa.Table, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[list[Path], list[Path]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "BATCH_ROWS", 8)
        patch.setattr(shuffle, "STRETCH_BYTES", request.param)
        folder = tmp_path_factory.mktemp("parts")
        files = to_train_parts(folder, table, 40, row_group_size=20, judge_share=0.5)
    with H5Table(files[0][0]) as first:
        assert (len(first.stretches) > 2) == (request.param == 800)
    return files


def check_rows(h5: H5Table, block: Block, table: pa.Table) -> None:
    """The block has the raw values of its rows."""
    assert block.label is not None
    country, item = (h5.categorical_columns.index(name) for name in ("country", "item"))
    words = {name: [None, *h5.vocabulary(name)[1:]] for name in ("country", "item")}
    events = as_lists(block.sequences["events"])
    for i, row in enumerate(block.row.tolist()):
        raw = {name: table[name][row].as_py() for name in ("country", "item", "y", "events")}
        assert words["country"][block.categorical[i, country]] == raw["country"]
        assert words["item"][block.categorical[i, item]] == raw["item"]
        assert block.label[i] == raw["y"]
        assert events[i] == split_events(raw["events"])


def test_the_parts_of_a_table_read_as_one(
    files: tuple[list[Path], list[Path]], table: pa.Table
) -> None:
    assert len(files[0]) == 8
    rows: list[int] = []
    with open_files(files[0]) as train, open_files(files[1]) as valid:
        assert train.identity == valid.identity
        assert train.choosing_rows == train.rows
        assert 0 < valid.choosing_rows < valid.rows
        for h5 in (train, valid):
            whole = h5.read(0, h5.rows)
            check_rows(h5, whole, table)
            rows += whole.row.tolist()
            for column in ("row", "label", "categorical"):
                assert np.array_equal(h5.column(column), getattr(whole, column))
                assert np.array_equal(h5.column(column, 9, 31), getattr(whole, column)[9:31])
            assert np.array_equal(h5.lengths("events"), whole.sequences["events"].lengths)
            pieces = Block.joined([*h5.blocks(17), h5.read(h5.rows, h5.rows)])
            assert np.array_equal(pieces.numeric, whole.numeric, equal_nan=True)
            assert as_lists(pieces.sequences["events"]) == as_lists(whole.sequences["events"])
        with open_table(AllRows(*files)) as together:
            all_rows = together.read(0, together.rows)
            check_rows(together, all_rows, table)
            assert together.identity != train.identity
    assert sorted(rows) == sorted(all_rows.row.tolist()) == list(range(300))


def test_files_of_other_draws_are_refused(
    files: tuple[list[Path], list[Path]], table: pa.Table, tmp_path: Path
) -> None:
    other = to_train_parts(tmp_path, table, 40, row_group_size=20, seed=4)
    with pytest.raises(UserError, match=r"part000.h5 and .*part000.h5 were not made from the same"):
        open_table(AllRows(files[0], other[1]))
    with open_files(files[0]) as train, open_files(other[0]) as drawn_again:
        assert train.identity != drawn_again.identity


def test_files_named_twice_or_of_unequal_number_are_refused(
    files: tuple[list[Path], list[Path]],
) -> None:
    train, valid = files
    with pytest.raises(UserError, match=r"part000.h5: is given twice; name each file"):
        open_files([train[0], train[1], train[0]])
    with pytest.raises(UserError, match="no H5 files are given"):
        open_files([])
    for rows in (AllRows(train, valid[:3]), AllRows(train[:1], valid)):
        with pytest.raises(UserError, match=r"other parts \([81] of .*train and [38] of"):
            open_table(rows)
    with pytest.raises(UserError, match="were not made from the same rows"):
        open_table(AllRows(train[0], valid[1]))


def test_more_files_than_the_soft_limit_are_opened_and_closed_again(
    files: tuple[list[Path], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 4, hard))
    with open_files(files[0]), open_files(files[1]):
        assert len(os.listdir("/proc/self/fd")) >= opened + 16
    assert len(os.listdir("/proc/self/fd")) == opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 70))
    with pytest.raises(
        UserError, match=r"a table in 8 files needs .* a process 70: raise parts.ro"
    ):
        open_files(files[0])


@pytest.mark.parametrize("stretch_bytes", [1 << 28, 400])
def test_a_part_without_rows_of_one_side_has_no_share_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch_bytes: int
) -> None:
    monkeypatch.setattr(conversion, "BATCH_ROWS", 4)
    monkeypatch.setattr(shuffle, "STRETCH_BYTES", stretch_bytes)
    table = raw_table(60, day=[i // 10 for i in range(60)])
    split = Split(time="day", last=2)
    train, valid = to_train_parts(tmp_path, table, 10, row_group_size=10, split=split)
    with H5Table(train[-1]) as last, H5Table(valid[0]) as first:
        assert (last.rows, first.rows) == (0, 0)
    for files, rows in ((train, range(40)), (valid, range(40, 60))):
        with open_files(files) as h5:
            whole = h5.read(0, h5.rows)
            assert sorted(whole.row) == [*rows]
            check_rows(h5, whole, table)
