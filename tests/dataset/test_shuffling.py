"""From a file sorted by day to batches that are samples of it, as those of a plain shuffle are."""

import numpy as np
import pytest
from scipy import stats

from feseq.dataset import batches, conversion, opening, shuffle
from feseq.dataset.batch import Batch
from feseq.dataset.batches import BatchSource
from feseq.dataset.fitting import fit_feature_map
from support.raw_tables import COLUMNS, raw_table, to_train_parts

# A 32nd of a full table's: its runs, blocks and windows are as much smaller.
ROWS, DAYS, BATCH_ROWS = 24_000, 7, 256
RUN_ROWS, BLOCK_ROWS, WINDOW_ROWS = 16, 256, 2_048

DayAndEpochs = tuple[np.ndarray, list[list[Batch]]]


@pytest.fixture(scope="module", params=["parts", "one file"])
def day_and_epochs(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> DayAndEpochs:
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
        # Many parts, or many shuffles in one, most of them of one day, as a full table has.
        patch.setattr(conversion, "BATCH_ROWS", 300)
        if request.param == "one file":
            patch.setattr(shuffle, "SHUFFLED_BYTES", 50_000)
        rows = ROWS // 24 if request.param == "parts" else ROWS
        folder = tmp_path_factory.mktemp("days")
        train, _ = to_train_parts(folder, table, rows, row_group_size=500)
        assert len(train) == ROWS // rows
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
    found = np.array([np.bincount(group, minlength=DAYS) for group in groups])
    expected = found.sum(axis=1, keepdims=True) * share
    return float(((found - expected) ** 2 / expected).sum(axis=1).mean()) / (DAYS - 1)


def test_every_batch_is_a_sample_of_a_window_of_random_blocks(
    day_and_epochs: DayAndEpochs,
) -> None:
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


def test_rows_that_meet_in_one_epoch_part_in_the_next(
    day_and_epochs: DayAndEpochs,
) -> None:
    day, epochs = day_and_epochs
    turns = np.empty((2, len(day)), int)
    for turn, epoch in zip(turns, epochs):
        for number, batch in enumerate(epoch):
            turn[batch.row_B.numpy()] = number
    pairs = np.random.default_rng(0).integers(0, len(day), (2, 400_000))
    together = turns[:, pairs[0]] == turns[:, pairs[1]]
    again = (together[0] & together[1]).sum() / together[0].sum()
    # Blocks stay whole, an eighth of a window, whose batches are of like lengths. Of windows that
    # stayed whole it would be more than half.
    assert again < 0.25


def test_grouping_by_length_tells_nothing_of_day_and_label(
    day_and_epochs: DayAndEpochs,
) -> None:
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
