"""Which rows are drawn, and how labels are read."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feseq.common.errors import UserError
from feseq.config.sampling import Sampling, Split
from feseq.dataset.sampling import draw, read_labels
from feseq.dataset.selection import Selection, write_selections
from feseq.raw.reading import RawTable
from support.raw_tables import selected, write_raw

DAY_ROWS = [9_000, 1_000, 14_000, 6_000, 2_000, 11_000, 7_000]


@pytest.fixture(scope="module")
def day() -> np.ndarray:
    return np.repeat(np.arange(len(DAY_ROWS)), DAY_ROWS)


@pytest.fixture(scope="module")
def labels(day: np.ndarray) -> np.ndarray:
    """2 % clicks in most days, 10 % in the fourth; sorted by day."""
    random = np.random.default_rng(5)
    return (random.random(len(day)) < np.where(day == 3, 0.1, 0.02)).astype(np.uint8)


def same(one: Selection, other: Selection) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_a_selection_survives_its_file(labels: np.ndarray, tmp_path: Path) -> None:
    drawn = selected(labels, 500, valid_share=0.1, seed=1)
    path = tmp_path / "selection.parquet"
    others = [Selection(*(column[:n] for column in vars(drawn).values())) for n in (0, 7)]
    digests = write_selections([others[0], drawn, others[1]], path)
    for number, expected in enumerate([others[0], drawn, others[1]]):
        assert same(expected, Selection.read(path, number, digests[number]))
    with pytest.raises(UserError, match=r"selection.parquet: was drawn for other parts .*delete"):
        Selection.read(path, 1, digests[0])
    with pytest.raises(UserError, match=r"not a complete file .*row group 3 of 3"):
        Selection.read(path, 3)


@pytest.mark.parametrize("rows", [1_000, 20_000])
def test_a_file_sorted_by_day_is_drawn_from_every_day_by_its_share(
    labels: np.ndarray, day: np.ndarray, rows: int
) -> None:
    drawn = selected(labels, rows, valid_share=0.2, seed=1)
    assert (len(drawn), drawn.is_valid.sum()) == (rows, rows / 5)
    assert abs(labels[drawn.row].sum() - rows * labels.mean()) <= 1
    for part in (drawn.is_valid, ~drawn.is_valid):
        assert abs(labels[drawn.row[part]].mean() - labels.mean()) < 0.01
        assert abs(np.corrcoef(drawn.row[part], drawn.position[part])[0, 1]) < 0.1
    for value in (0, 1):
        of_class = labels == value
        for part in (drawn.is_valid, ~drawn.is_valid):
            chosen = drawn.row[part & of_class[drawn.row]]
            share = len(chosen) / of_class.sum()
            expected = np.bincount(day[of_class], minlength=7) * share
            found = np.bincount(day[chosen], minlength=7)
            # A span may reach over either end of a day; the validation draw doubles that.
            assert np.abs(found - expected).max() <= 4


@given(data=st.data())
def test_train_and_valid_are_disjoint_and_fill_their_positions(data: st.DataObject) -> None:
    total = data.draw(st.integers(20, 300), "total")
    clicks = data.draw(st.integers(2, total - 2), "clicks")
    rows = data.draw(st.none() | st.integers(20, total), "rows")
    valid_share = data.draw(st.floats(0.001, 0.999), "valid_share")
    labels = (np.random.default_rng(total).permutation(total) < clicks).astype(np.uint8)
    seed = data.draw(st.integers(0, 9), "seed")
    drawn = selected(labels, rows, valid_share=valid_share, seed=seed)
    assert len(drawn.row) == (total if rows is None else rows)
    assert (np.diff(drawn.row) > 0).all()
    assert drawn.row[0] >= 0
    assert drawn.row[-1] < total
    for part in (drawn.is_valid, ~drawn.is_valid):
        assert sorted(drawn.position[part]) == list(range(part.sum()))
        assert set(labels[drawn.row[part]]) == {0, 1}


def drawn_in_parts(
    folder: Path, labels: np.ndarray, bounds: list[int], rows: int | None, **sampling: Any
) -> list[Selection]:
    groups = np.arange(len(labels)) // 7
    raw = write_raw(folder, pa.table({"y": labels, "group": groups}), row_group_size=999)
    settings = Sampling(**{"seed": 1, "valid_share": 0.1} | sampling)
    return list(draw(RawTable(raw), "y", rows, settings, bounds))


@pytest.mark.parametrize("split", [Split(), Split(group="group")])
def test_all_parts_together_give_the_rows_and_shares_that_are_asked_for(
    labels: np.ndarray, tmp_path: Path, split: Split
) -> None:
    bounds = [0, 7, 1_000, 1_000, 30_000, 50_000]
    sampling = {"split": split, "valid_share": 0.2, "holdout_share": 0.5}
    parts = drawn_in_parts(tmp_path, labels, bounds, 20_000, **sampling)
    assert [len(part) for part in parts] == pytest.approx(np.diff(bounds) * 0.4, abs=3)
    assert sum(map(len, parts)) == 20_000
    rows = np.concatenate([part.row + first for part, first in zip(parts, bounds)])
    assert (np.diff(rows) > 0).all()
    assert abs(labels[rows].sum() - 20_000 * labels.mean()) <= 3
    held = np.concatenate([part.part for part in parts])
    assert np.bincount(held) / 20_000 == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    for number in range(3):
        assert labels[rows[held == number]].mean() == pytest.approx(labels.mean(), abs=0.008)


def test_a_changed_part_leaves_the_draws_of_the_others_as_they_are(
    labels: np.ndarray, tmp_path: Path
) -> None:
    bounds = list(range(0, 50_001, 5_000))
    before = drawn_in_parts(tmp_path, labels, bounds, None)
    changed = labels.copy()
    changed[5_000:10_000] = labels[:5_000]
    after = drawn_in_parts(tmp_path, changed, bounds, None)
    is_same = [one.digest == other.digest for one, other in zip(before, after)]
    assert is_same == [True, False, *[True] * 8]
    # Each seed and part has draws of its own.
    assert before[0].digest != drawn_in_parts(tmp_path, labels, bounds, None, seed=2)[0].digest
    assert not np.array_equal(before[0].position, before[2].position)


LABELS = [0, 1, 1, 0, 0, 1]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(LABELS, pa.float32()),
        pa.array([x == 1 for x in LABELS]),
        pa.array([f"{x}.0" for x in LABELS]),
        pa.array(LABELS, pa.int8()).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_labels_of_any_number_type_are_read(tmp_path: Path, column: pa.Array) -> None:
    raw = write_raw(tmp_path, pa.table({"unused": LABELS, "y": column}), row_group_size=2)
    labels = read_labels(RawTable(raw), "y")
    assert (labels.tolist(), labels.dtype) == (LABELS, np.uint8)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([0, 1, 0, 1, 2, 1], r"row 4: 2 "),
        ([0.0, 1.0, float("nan"), 0.0], r"row 2: nan "),
        ([0, 1, 1, 0, None, None], r"row 4: None .*2 such rows"),
        (["0", "1", "0", "1", "yes", "no"], r"'y' has type string, .*row 4: .*'yes'"),
        ([[0], [1]], r"type list"),
        (pa.array([b"0", b"\xff"]).view(pa.string()).dictionary_encode(), r"row 1: "),
        ([0, 0, 1, 0], r"'y' is 1 in 1 of 4"),
        (pa.array([], pa.int8()), r"no rows"),
    ],
)
def test_an_unusable_label_is_refused_with_its_row(tmp_path: Path, values: Any, named: str) -> None:
    raw = write_raw(tmp_path, pa.table({"y": values}))
    with pytest.raises(UserError, match=rf"{raw}.*{named}"):
        read_labels(RawTable(raw), "y")
