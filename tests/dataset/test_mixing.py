"""From a file sorted by day to batches in which the days are mixed like in the whole file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from feseq.dataset import batches, conversion, shuffle
from feseq.dataset.batches import BatchSource
from feseq.dataset.feature_map import fit_feature_map
from feseq.dataset.mixed import open_files, open_mixed
from support.raw_tables import COLUMNS, to_train_parts

ROWS, DAYS, BATCH_ROWS = 24_000, 7, 256


# Parts, and stretches of all.
@pytest.fixture(scope="module", params=[(24, 24), (1, 40)])
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
        # Many batches and parts or stretches, as a full table has; most are of one day.
        patch.setattr(conversion, "BATCH_ROWS", 300)
        parts, stretches = request.param
        patch.setattr(shuffle, "STRETCH_BYTES", 33_000 if stretches > parts else 1 << 28)
        folder = tmp_path_factory.mktemp("days")
        part_rows = ROWS // parts
        files, _ = to_train_parts(folder, table, part_rows, row_group_size=500)
    with open_mixed([files]) as mixed:
        assert (len(files), sum(len(table.stretches) for table in mixed.tables)) == request.param
    return files


def day_p_values(days: list[np.ndarray], shares: np.ndarray, rows: int) -> list[float]:
    """For each group of rows: how likely days at least as uneven are in a fair draw."""
    found = []
    for group in days:
        counts = np.bincount(group, minlength=DAYS)
        expected = shares * len(group)
        # Drawn without replacement, counts vary a little less than a multinomial's.
        statistic = ((counts - expected) ** 2 / expected).sum() / (1 - len(group) / rows)
        found.append(float(stats.chi2.sf(statistic, DAYS - 1)))
    return found


def test_days_are_mixed_within_every_batch_and_piece_of_the_file(
    train: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WINDOW_ROWS", 2_048)
    with open_files(train) as table:
        block = table.read(0, table.rows)
    day = block.numeric[:, list(COLUMNS.numeric).index("age")].astype(int)
    shares = np.bincount(day, minlength=DAYS) / len(day)
    pieces = np.array_split(day, 80)
    source = BatchSource(
        train, fit_feature_map(train, COLUMNS, 1), max_len=50, batch_rows=BATCH_ROWS
    )
    epochs = [
        [day[batch.row_B.numpy()] for batch in source.shuffled(seed=1, epoch=epoch)]
        for epoch in range(3)
    ]
    for groups in (pieces, *epochs):
        # Fair draws have p-values spread evenly over [0, 1]; shares of all parts are more even.
        p_values = day_p_values(groups, shares, len(day))
        assert stats.kstest(p_values, "uniform", alternative="greater").pvalue > 0.01
    # The same test sees the raw order, and a shuffle of neighbours alone.
    half_mixed = np.sort(day) + 0
    for start in range(0, len(day), 6_000):
        np.random.default_rng(start).shuffle(half_mixed[start : start + 6_000])
    p_values = day_p_values(np.array_split(half_mixed, 80), shares, len(day))
    assert stats.kstest(p_values, "uniform", alternative="greater").pvalue < 1e-9


def test_grouping_by_length_tells_nothing_of_day_and_label(
    train: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WINDOW_ROWS", 2_048)
    with open_files(train) as table:
        day = table.read(0, table.rows).numeric[:, list(COLUMNS.numeric).index("age")]
    source = BatchSource(
        train, fit_feature_map(train, COLUMNS, 1), max_len=50, batch_rows=BATCH_ROWS
    )
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
