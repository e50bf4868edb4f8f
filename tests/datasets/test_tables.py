"""Several files as one table: each row once, as raw, and batches that are samples of all of it."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from support.raw_tables import (
    COLUMNS,
    as_lists,
    h5_columns,
    raw_columns,
    raw_table,
    to_train_h5,
    to_train_parts,
)
from tossctr.batches import batch_source as batches
from tossctr.batches.batch import Batch
from tossctr.batches.batch_source import BatchSource
from tossctr.common.errors import UserError
from tossctr.datasets import conversion, opening
from tossctr.datasets import table as table_module
from tossctr.datasets.opening import TrainAndValidation, open_table
from tossctr.datasets.split import SPLITS
from tossctr.datasets.table import Block, MemoryTable, RowSubset, Table, monitored_rows
from tossctr.features.fitting import fit_feature_map

Files = tuple[list[Path], list[Path]]


# Each item is in a few neighbouring rows alone, so parts have other vocabularies.
TABLE = raw_table(300, item=[f"item {i // 25}" for i in range(300)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Parts, some of which begin within a row group."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "BATCH_ROWS", 8)
        patch.setattr(conversion, "SHUFFLED_BYTES", 1_500)
        return to_train_parts(tmp_path_factory.mktemp("parts"), TABLE, 40, row_group_size=70)


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "RUN_ROWS", 7)
    monkeypatch.setattr(Table, "block_rows", 17)


def check_rows(opened: Table) -> list[int]:
    """The table has the raw values of its rows, however it is read; returns the rows' numbers."""
    whole = opened.read(0, opened.rows)
    raw = TABLE.take(whole.row)
    assert whole.label is not None
    assert whole.label.tolist() == raw["y"].to_pylist()
    assert h5_columns(opened) == raw_columns(raw)
    for column in ("row", "label", "categorical", "period"):
        assert np.array_equal(opened.column(column), getattr(whole, column))
        assert np.array_equal(opened.column(column, 9, 31), getattr(whole, column)[9:31])
    pieces = Block.concatenate([*opened.blocks(), opened.read(opened.rows, opened.rows)])
    assert np.array_equal(pieces.numeric, whole.numeric, equal_nan=True)
    assert as_lists(pieces.sequences["events"]) == as_lists(whole.sequences["events"])
    assert not opened.read(0, 3, []).sequences
    return whole.row.tolist()


def test_the_parts_of_a_table_and_some_of_its_rows_read_as_one(files: Files) -> None:
    assert len(files[0]) == 8
    with (
        open_table(files[0]) as train,
        open_table(files[1]) as valid,
        open_table(TrainAndValidation(*files)) as together,
    ):
        rows = check_rows(train) + check_rows(valid)
        assert (train.split, valid.split) == SPLITS
        assert train.identity == valid.identity != together.identity
        assert train.vocabulary("item") == sorted({f"item {i // 25}" for i in range(300)})
        assert sorted(check_rows(together)) == sorted(rows) == list(range(300))
        some = RowSubset(valid, np.array([5, 6, 7, 20, 30]))
        words = {name: valid.vocabulary(name) for name in valid.categorical_columns}
        for part in (some, MemoryTable(valid, valid.read(3, 30), words)):
            assert 0 < len(check_rows(part)) == part.rows < valid.rows
            assert part.identity == valid.identity


def test_files_of_other_draws_or_of_unequal_number_are_refused(
    files: Files, tmp_path: Path
) -> None:
    train, valid = files
    other = to_train_parts(tmp_path, TABLE, 150, row_group_size=20, seed=4)
    toy = to_train_h5(tmp_path, TABLE, size="toy")[0]
    for rows, named in (
        (TrainAndValidation(train[:1], other[1][:1]), r"part000\.h5 and .*part000\.h5"),
        ([train[0], toy], r"part000\.h5 and .*train\.h5"),
        (TrainAndValidation(train, valid[:3]), r"train/part000\.h5 and .*valid/part000\.h5"),
    ):
        with pytest.raises(UserError, match=named):
            open_table(rows)


@pytest.mark.parametrize(("rows", "clicks"), [(5, 1), (0, 3), (1_000, 0)])
def test_monitored_rows_are_the_first_that_have_so_many_rows_and_clicks(
    files: Files, monkeypatch: pytest.MonkeyPatch, rows: int, clicks: int
) -> None:
    monkeypatch.setattr(table_module, "MONITORED_ROWS", rows)
    monkeypatch.setattr(table_module, "MONITORED_CLICKS", clicks)
    with open_table(files[1]) as valid:
        label = valid.column("label")
        enough = [n for n in range(1, len(label) + 1) if n >= rows and label[:n].sum() >= clicks]
        expected = valid.column("row")[: enough[0] if enough else None]
        assert monitored_rows(valid).column("row").tolist() == expected.tolist()


# A 32nd of a full table's: its runs, blocks and windows are as much smaller.
ROWS, DAYS, BATCH_ROWS = 12_000, 7, 256
RUN_ROWS, BLOCK_ROWS, WINDOW_ROWS = 16, 256, 2_048

DayAndEpochs = tuple[np.ndarray, list[list[Batch]]]


@pytest.fixture(scope="module")
def day_and_epochs(tmp_path_factory: pytest.TempPathFactory) -> DayAndEpochs:
    """The day of each row, and the batches of some epochs.

    Rows are sorted by `age`, here the day, from unequal days; history lengths have a long tail.
    """
    random = np.random.default_rng(5)
    lengths = np.minimum(random.lognormal(1.5, 1.0, ROWS).astype(int), 60)
    table = raw_table(
        ROWS,
        longest=0,
        age=np.sort(random.choice(DAYS, ROWS, p=np.arange(1, 8) / 28)),
        events=[",".join("7" * n) for n in lengths],
    )
    with pytest.MonkeyPatch.context() as patch:
        # Some parts, and many shuffles in each, most of them of one day, as a full table has.
        patch.setattr(conversion, "BATCH_ROWS", 300)
        patch.setattr(conversion, "SHUFFLED_BYTES", 50_000)
        folder = tmp_path_factory.mktemp("days")
        train, _ = to_train_parts(folder, table, ROWS // 3, row_group_size=500)
        patch.setattr(opening, "RUN_ROWS", RUN_ROWS)
        patch.setattr(batches, "BLOCK_ROWS", BLOCK_ROWS)
        patch.setattr(batches, "WINDOW_ROWS", WINDOW_ROWS)
        fields = fit_feature_map(train, COLUMNS, 1)
        source = BatchSource(train, fields, max_len=50, batch_rows=BATCH_ROWS)
        with source.table as opened:
            day = opened.column("numeric")[:, list(COLUMNS.numeric).index("age")].astype(int)
            return day, [[*source.shuffled(seed=1, epoch=epoch)] for epoch in range(4)]


def unevenness(groups: list[np.ndarray], day: np.ndarray) -> float:
    """How far the days of groups of rows are from those of all, in expectation 1 for any draws."""
    share = np.bincount(day, minlength=DAYS) / len(day)
    counts = np.array([np.bincount(group, minlength=DAYS) for group in groups])
    expected = counts.sum(axis=1, keepdims=True) * share
    return float(((counts - expected) ** 2 / expected).sum(axis=1).mean()) / (DAYS - 1)


def test_every_batch_is_a_sample_of_a_window_of_random_blocks(day_and_epochs: DayAndEpochs) -> None:
    day, epochs = day_and_epochs
    drawn = [day[batch.row_B.numpy()] for epoch in epochs for batch in epoch]
    blocks = [day[start : start + BLOCK_ROWS] for start in range(0, len(day), BLOCK_ROWS)]
    # The law of total variance: draws from a window, and windows of blocks drawn from all.
    within = (WINDOW_ROWS - BATCH_ROWS) / (WINDOW_ROWS - 1)
    expected = within + BATCH_ROWS / WINDOW_ROWS * unevenness(blocks, day)
    assert unevenness(drawn, day) == pytest.approx(expected, abs=0.1)
    # Any rows that follow each other: of each day there are as many, but for a run or two.
    opened = [day[start : start + WINDOW_ROWS] for start in range(0, len(day) - WINDOW_ROWS, 512)]
    shares = np.array([np.bincount(rows, minlength=DAYS) / len(rows) for rows in opened])
    assert np.abs(shares - np.bincount(day) / len(day)).max() < 2.5 * RUN_ROWS / WINDOW_ROWS


def test_grouping_by_length_tells_nothing_of_day_and_label(day_and_epochs: DayAndEpochs) -> None:
    day, epochs = day_and_epochs
    means = []
    for epoch in epochs:
        for number, batch in enumerate(epoch):
            assert batch.label_B is not None
            length = float(batch.offsets.diff().double().mean())
            label = float(batch.label_B.mean())
            means.append((number, length, label, day[batch.row_B.numpy()].mean()))
    number, length, label, day_of_batch = np.array(means).T
    # Batches are groups of one length: their mean lengths differ far more than chance allows.
    assert length.std() > 5
    for one, other in ((length, label), (length, day_of_batch), (length, number), (number, label)):
        assert stats.pearsonr(one, other).pvalue > 0.01
