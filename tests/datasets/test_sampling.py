"""Which rows are drawn and held out, by chance, time and group, beside plain loops."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.raw_tables import selected, write_raw
from tossctr.common.errors import UserError
from tossctr.config.names import FOLDS
from tossctr.datasets.draw import (
    Selection,
    draw_by_part,
    given_split_quotas,
    read_labels,
    select_rows,
    write_selections,
)
from tossctr.datasets.split import PERIODS, TRAIN, VALIDATION, Sampling, read_groups
from tossctr.raw.reading import RawTable

# 2 % clicks in most days, 10 % in the fourth; sorted by day.
DAY = np.repeat(np.arange(7), [9_000, 1_000, 14_000, 6_000, 2_000, 11_000, 7_000])
LABEL = (np.random.default_rng(5).random(50_000) < np.where(DAY == 3, 0.1, 0.02)).astype(np.uint8)


def drawn(
    folder: Path,
    columns: dict[str, Any],
    rows: int | None = None,
    bounds: list[int] | None = None,
    **options: Any,
) -> list[Selection]:
    """The rows that are drawn of a raw table, in parts of these bounds or in one."""
    file = RawTable(write_raw(folder, pa.table(columns), row_group_size=999))
    sampling = Sampling(**{"valid_share": 0.2, "seed": 1} | options)
    return list(draw_by_part(file, "y", rows, sampling, bounds or [0, file.rows]))


def test_a_selection_survives_its_file(tmp_path: Path) -> None:
    whole = selected(LABEL, 500, valid_share=0.1, seed=1)
    path = tmp_path / "selection.parquet"
    parts = [Selection(*(column[:n] for column in vars(whole).values())) for n in (0, 500, 7)]
    digests = write_selections(parts, path)
    for number, expected in enumerate(parts):
        selection = Selection.read(path, number, digests[number])
        assert all(map(np.array_equal, vars(selection).values(), vars(expected).values()))
    with pytest.raises(UserError, match=r"selection.parquet: does not match .*delete"):
        Selection.read(path, 1, digests[0])


@pytest.mark.parametrize("split", [{}, {"group": "group"}])
def test_a_sorted_file_is_drawn_from_every_part_and_day_by_its_share(
    tmp_path: Path, split: dict[str, str]
) -> None:
    rows, bounds = 20_000, [0, 7, 1_000, 1_000, 30_000, 50_000]
    table = {"y": LABEL, "group": np.arange(50_000) // 7}
    parts = drawn(tmp_path, table, rows, bounds, **split)
    assert [len(part) for part in parts] == pytest.approx(np.diff(bounds) * rows / 50_000, abs=3)
    row = np.concatenate([part.row + first for part, first in zip(parts, bounds)])
    held = np.concatenate([part.split for part in parts])
    assert len(row) == rows
    assert (np.diff(row) > 0).all()
    assert abs(LABEL[row].sum() - rows * LABEL.mean()) <= 3
    assert np.bincount(held) / rows == pytest.approx([0.8, 0.2], abs=0.01)
    for number in (TRAIN, VALIDATION):
        assert LABEL[row[held == number]].mean() == pytest.approx(LABEL.mean(), abs=0.01)
    for is_valid in () if split else (held > 0, held == 0):
        for is_class in (LABEL == 0, LABEL == 1):
            days = DAY[row[is_valid & is_class[row]]]
            expected = np.bincount(DAY[is_class], minlength=7) * len(days) / is_class.sum()
            # A span may reach over either end of a day, and of a part; of validation twice.
            most = 4 + len(parts)
            assert np.abs(np.bincount(days, minlength=7) - expected).max() <= most
    last = parts[-1]
    for chosen in (last.split == TRAIN, last.split != TRAIN):
        assert abs(np.corrcoef(last.row[chosen], last.position[chosen])[0, 1]) < 0.1


SHARES = st.floats(0, 1)


@given(st.integers(20, 300), SHARES, SHARES, st.floats(0.001, 0.999), st.booleans())
def test_any_draw_has_so_many_rows_and_both_labels_on_each_side_in_any_order(
    total: int, drawn_share: float, rate: float, valid_share: float, is_split: bool
) -> None:
    count = 20 + round(drawn_share * (total - 20))
    random = np.random.default_rng(total)
    labels = (random.random(total) < rate).astype(np.uint8)
    labels[:4] = [0, 1, 0, 1]
    split = (random.random(total) < 0.5).astype(np.int8)
    split[:4] = [TRAIN, TRAIN, VALIDATION, VALIDATION]
    if is_split:
        count_22 = np.bincount(2 * split + labels, minlength=4).reshape(2, 2)
        (quota_22,) = given_split_quotas(count_22[None], count)
        selection = select_rows(labels, quota_22, 1, row_splits=[split, split, split])
        for kept in (selection.split, selection.period, selection.fold):
            assert np.array_equal(kept, split[selection.row])
    else:
        selection = selected(labels, count, valid_share=valid_share)
    assert len(selection.row) == count
    assert (np.diff(selection.row, prepend=-1, append=total) > 0).all()
    for number in (TRAIN, VALIDATION):
        is_here = selection.split == number
        assert sorted(selection.position[is_here]) == list(range(is_here.sum()))
        assert {*labels[selection.row[is_here]]} == {0, 1}


def test_a_changed_part_leaves_the_draws_of_the_others_as_they_are(tmp_path: Path) -> None:
    labels, bounds = np.tile([0, 0, 0, 0, 1], 2_000), list(range(0, 10_001, 1_000))
    changed = labels.copy()
    changed[1_000:1_500] = 1
    before, after = (drawn(tmp_path, {"y": y}, bounds=bounds) for y in (labels, changed))
    is_same = [one.digest == other.digest for one, other in zip(before, after)]
    assert is_same == [True, False, *[True] * 8]
    # Each seed and part has draws of its own.
    assert before[0].digest != drawn(tmp_path, {"y": labels}, bounds=bounds, seed=2)[0].digest
    assert not np.array_equal(before[0].position, before[2].position)


LABELS = [0, 1, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        (pa.array(LABELS, pa.float32()), None),
        ([x == 1 for x in LABELS], None),
        ([f"{x}.0" for x in LABELS], None),
        (["no", "Yes", "YES", "no", "No", "yes"], None),
        (pa.array(["f", "t", "T", "f", "F", "t"]).dictionary_encode(), None),
        ([0, 1, 0, 1, 2, 1], r"row 5 .1-based.: 2 "),
        ([0, 1, 1, 0, None, None], r"row 5 .1-based.: missing"),
        (["0", "1", "0", "1", "yes", "no"], r"'y'.*row 5 .1-based.: .*'yes'"),
        (["no", "yes", "yes", "no", "n", "yes"], r"row 5 .1-based.: 'n' is neither"),
        ([0, 0, 1, 0], r"1 of 4 rows have 'y' = 1"),
        (pa.array([], pa.int8()), r"0 of 0 rows have 'y' = 1"),
    ],
)
def test_labels_of_any_number_type_are_read_or_refused_with_their_row(
    tmp_path: Path, values: Any, refused: str | None
) -> None:
    raw = RawTable(write_raw(tmp_path, pa.table({"y": values}), row_group_size=4))
    if refused is None:
        labels = read_labels(raw, "y")
        assert (labels.tolist(), labels.dtype) == (LABELS, np.uint8)
    else:
        with pytest.raises(UserError, match=rf"raw\.parquet.*{refused}"):
            read_labels(raw, "y")


RANDOM = np.random.default_rng(3)
# Rows of 150 users who come in bursts, some of whom return; a third has a click.
USER = RANDOM.integers(0, 150, 600)
USERS = {
    "y": (RANDOM.random(600) < 1 / 3).astype(np.int8),
    "t": RANDOM.integers(0, 500, 150)[USER] + RANDOM.integers(0, 60, 600),
    "u": [f"user {i}" for i in USER],
}


def test_by_time_the_newest_rows_are_held_out(tmp_path: Path) -> None:
    (chosen,) = drawn(tmp_path, USERS, time="t")
    assert len(chosen.row) == 600
    is_train = chosen.split == TRAIN
    assert USERS["t"][chosen.row][is_train].max() < USERS["t"][chosen.row][~is_train].min()
    assert abs((~is_train).mean() - 0.2) < 0.01
    assert np.bincount(chosen.period) == pytest.approx([600 / PERIODS] * PERIODS, rel=0.1)
    # Rows of a later period are newer, and those of one time are in one period.
    order = np.argsort(USERS["t"][chosen.row], kind="stable")
    assert (np.diff(chosen.period[order].astype(int)) >= 0).all()
    assert len({*zip(USERS["t"][chosen.row], chosen.period)}) == len({*USERS["t"]})


def test_by_group_no_group_is_on_both_sides(tmp_path: Path) -> None:
    both = [drawn(tmp_path, USERS, group="u", seed=seed)[0] for seed in (1, 2)]
    for selection in both:
        group = np.array(USERS["u"])[selection.row]
        parts = [{*group[selection.split == part]} for part in (TRAIN, VALIDATION)]
        assert sum(map(len, parts)) == len({*USERS["u"]})
        assert abs((selection.split != TRAIN).mean() - 0.2) < 0.02
        assert not selection.period.any()
        # Rows of a group are in one fold, and folds have about as many groups.
        folds = [{*selection.fold[group == each]} for each in {*group}]
        assert {*map(len, folds)} == {1}
        assert np.bincount(selection.fold, minlength=FOLDS).min() > 0
    assert not np.array_equal(both[0].split, both[1].split)


DATES = ["2024-01-09", "2024-01-10", "2023-12-31", "2024-01-10"]


@pytest.mark.parametrize(
    ("column", "order"),
    [
        (["9", "10", "2", "10"], [1, 2, 0, 2]),
        (["20240131123456002", "20240131123456001", "20240131123456000"], [2, 1, 0]),
        (["2024-01-10T00:00:01.5Z", "2024-01-10T00:00:01Z"], [1, 0]),
        (["2024-01-09 01:00:00+0900", "2024-01-08 20:00:00Z"], [0, 1]),
        (DATES, [1, 2, 0, 2]),
        (pa.array(DATES).cast(pa.date32()), [1, 2, 0, 2]),
        (pa.array(DATES).cast(pa.timestamp("ns")), [1, 2, 0, 2]),
        ([9, 10, 2**53 + 1, 2**53 + 2], [0, 1, 2, 3]),
        (pa.array([0.5, 0.75, -1, 0.75], pa.float32()), [1, 2, 0, 2]),
        (["31.12.24", "01.01.25"], None),
        (["v1.9", "v1.10"], None),
    ],
)
def test_times_of_any_type_have_their_order_or_are_refused(
    tmp_path: Path, column: Any, order: list[int] | None
) -> None:
    raw = RawTable(write_raw(tmp_path, pa.table({"t": column}), row_group_size=3))
    if order is None:
        with pytest.raises(UserError, match=r"column 't'.*2024-01-31"):
            raw.times("t")
    else:
        assert np.unique(raw.times("t"), return_inverse=True)[1].tolist() == order


LISTS = pa.array([[1, 2], [1], [], None, [1, 2], [12], [], [1]])


@pytest.mark.parametrize(
    "column",
    [["1,2", "1", "", None, "1,2", "12", "", "1"], LISTS, LISTS.cast(pa.list_(pa.string()))],
)
def test_groups_are_equal_where_their_texts_are_and_none_are_apart(
    tmp_path: Path, column: Any
) -> None:
    groups = read_groups(RawTable(write_raw(tmp_path, pa.table({"g": column}))), "g", 7)
    assert groups[0] == groups[4] != groups[1] == groups[7]
    assert len({*groups}) == 6


@pytest.mark.parametrize("users", [7, 1])
def test_auto_takes_groups_or_any_rows_where_the_time_has_one_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, users: int
) -> None:
    user = np.arange(600) % users
    table = USERS | {"day": [3] * 600, "user": user}
    auto: dict[str, Any] = {"time": "day", "group": "user", "is_auto": True}
    (chosen,) = drawn(tmp_path, table, **auto)
    assert sum("HAVE THE SAME day" in message for message in caplog.messages) == 1
    train, valid = ({*user[chosen.row[chosen.split == each]]} for each in (TRAIN, VALIDATION))
    assert valid.isdisjoint(train) == (users > 1)
    with pytest.raises(UserError, match=r"'day' has one value"):
        drawn(tmp_path, table, time="day")
    (by_time,) = drawn(tmp_path, table | {"day": np.arange(600) // 100}, **auto)
    assert {*by_time.row[by_time.split == VALIDATION]} == {*range(500, 600)}


FORTY = list(range(40))


# A split by column `x`, its values in forty rows, and what the refusal names.
@pytest.mark.parametrize(
    ("split", "values", "message"),
    [
        ({"time": "day"}, FORTY, "no column 'day'"),
        ({"group": "user"}, FORTY, "no column 'user'"),
        ({"time": "x"}, [1.0, None, float("nan"), *range(37)], "'x'.* row 2 .1-based."),
        ({"time": "x"}, [*["8", "9"] * 19, "n/a", "none"], "'x': data row 39 .1-based.: .*'n/a'"),
        ({"group": "x"}, [[0.5]] * 40, "'x'.* list<"),
        ({"time": "x"}, FORTY, r"split by x.*validation rows \(0 clicks"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_what_there_is(
    tmp_path: Path, split: dict[str, str], values: Any, message: str
) -> None:
    labels = np.where(np.arange(40) < 30, USERS["y"][:40], 0)
    with pytest.raises(UserError, match=rf"raw\.parquet.*{message}"):
        drawn(tmp_path, {"y": labels, "x": values}, **split)
