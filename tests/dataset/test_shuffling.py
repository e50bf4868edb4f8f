"""From a file sorted by day to batches that are samples of it, as those of a plain shuffle are."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from feseq.dataset import batches, conversion, opening, shuffle
from feseq.dataset.batches import BatchSource
from feseq.dataset.feature_map import fit_feature_map
from support.raw_tables import COLUMNS, to_train_parts

# A 32nd of a full table's: its runs, blocks and windows are as much smaller.
ROWS, DAYS, BATCH_ROWS = 24_000, 7, 256


@pytest.fixture(scope="module", params=["parts", "one file"])
def train(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> list[Path]:
    """Rows sorted by `age`, here the day, from unequal days; history lengths have a long tail."""
    random = np.random.default_rng(5)
    day = np.sort(random.choice(DAYS, ROWS, p=np.arange(1, 8) / 28))
    lengths = np.minimum(random.lognormal(1.5, 1.0, ROWS).astype(int), 60)
    table = pa.table(
        {
            "y": (random.random(ROWS) < 0.1).astype(np.int8),
            "age": day,
            "price": random.random(ROWS),
            "events": [",".join("7" * n) for n in lengths],
            "country": ["KR"] * ROWS,
            "item": ["i"] * ROWS,
            "uid": [str(i) for i in range(ROWS)],
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        # Many parts, or many shuffles in one, most of them of one day, as a full table has.
        patch.setattr(conversion, "BATCH_ROWS", 300)
        if request.param == "one file":
            patch.setattr(shuffle, "SHUFFLED_BYTES", 50_000)
        rows = ROWS // 24 if request.param == "parts" else ROWS
        folder = tmp_path_factory.mktemp("days")
        files, _ = to_train_parts(folder, table, rows, row_group_size=500)
    assert len(files) == ROWS // rows
    return files


@pytest.fixture
def source(train: list[Path], monkeypatch: pytest.MonkeyPatch) -> BatchSource:
    monkeypatch.setattr(opening, "RUN_ROWS", 16)
    monkeypatch.setattr(batches, "BLOCK_ROWS", 256)
    monkeypatch.setattr(batches, "WINDOW_ROWS", 2_048)
    fields = fit_feature_map(train, COLUMNS, 1)
    return BatchSource(train, fields, max_len=50, batch_rows=BATCH_ROWS)


def unevenness(groups: list[np.ndarray], day: np.ndarray) -> float:
    """How far the days of groups of rows are from those of all, 1 as in a plain shuffle."""
    found = []
    expected = np.bincount(day, minlength=DAYS) / len(day)
    for group in groups:
        counts = np.bincount(group, minlength=DAYS)
        statistic = ((counts - len(group) * expected) ** 2 / (len(group) * expected)).sum()
        # Drawn without replacement, counts vary a little less than a multinomial's.
        found.append(statistic / (1 - len(group) / len(day)) / (DAYS - 1))
    return float(np.mean(found))


def test_every_batch_and_piece_of_the_table_is_a_sample_of_all_days(source: BatchSource) -> None:
    with source.table as table:
        day = table.read(0, table.rows).numeric[:, list(COLUMNS.numeric).index("age")].astype(int)
        epochs = [
            [day[batch.row_B.numpy()] for batch in source.shuffled(seed=1, epoch=epoch)]
            for epoch in range(3)
        ]
        opened = [day[start : start + 2_048] for start in range(0, len(day) - 2_048, 512)]
    plain = np.random.default_rng(3).permutation(day)
    assert unevenness(np.array_split(plain, 80), day) == pytest.approx(1, abs=0.2)
    for epoch in epochs:
        assert unevenness(epoch, day) < 1.4
    # Any rows that follow each other: of each day there are as many, but for a run or two.
    shares = np.array([np.bincount(rows, minlength=DAYS) / len(rows) for rows in opened])
    assert np.abs(shares - np.bincount(day) / len(day)).max() < 2.5 * 16 / 2_048
    # The measure notices when only neighbours are shuffled.
    half = np.sort(day)
    for start in range(0, len(day), 6_000):
        np.random.default_rng(start).shuffle(half[start : start + 6_000])
    assert unevenness(np.array_split(half, 80), day) > 10


def test_rows_that_meet_in_one_epoch_part_in_the_next(source: BatchSource) -> None:
    with source.table:
        turns = []
        for epoch in range(2):
            turn = np.empty(source.rows, int)
            for number, batch in enumerate(source.shuffled(seed=1, epoch=epoch)):
                turn[batch.row_B.numpy()] = number
            turns.append(turn)
    pairs = np.random.default_rng(0).integers(0, source.rows, (2, 400_000))
    together = [turn[pairs[0]] == turn[pairs[1]] for turn in turns]
    again = (together[0] & together[1]).sum() / together[0].sum()
    # Blocks stay whole, an eighth of a window, whose batches are of like lengths. Of windows that
    # stayed whole it would be more than half.
    assert again < 0.25


def test_grouping_by_length_tells_nothing_of_day_and_label(source: BatchSource) -> None:
    with source.table as table:
        day = table.read(0, table.rows).numeric[:, list(COLUMNS.numeric).index("age")]
        means = []
        for epoch in range(5):
            for number, batch in enumerate(source.shuffled(seed=1, epoch=epoch)):
                assert batch.label_B is not None
                length = float(batch.offsets.diff().double().mean())
                label = float(batch.label_B.mean())
                means.append((number, length, label, day[batch.row_B.numpy()].mean()))
    number, length, label, day_of_batch = np.array(means).T
    # Batches are groups of one length: their mean lengths differ far more than chance allows.
    assert length.std() > 5
    for one, other in ((length, label), (length, day_of_batch), (length, number), (number, label)):
        assert stats.pearsonr(one, other).pvalue > 0.01
