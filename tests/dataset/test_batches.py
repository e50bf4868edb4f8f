"""Epochs: each click once, a share of the other rows, ranks alike, and an order by the seed."""

import threading
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feseq.common.errors import UserError
from feseq.dataset import batches, negatives
from feseq.dataset.batch import Batch
from feseq.dataset.batches import BatchSource
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.negatives import NegativeDraw
from support.raw_tables import COLUMNS, raw_table, to_train_h5

ROWS = 1_000
TABLE = raw_table(ROWS + 2, 2, longest=40)
LABEL = TABLE["y"].to_numpy()[:ROWS]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows as in `TABLE`, but for the two last, which are in valid.h5."""
    folder = tmp_path_factory.mktemp("h5")
    return to_train_h5(folder, TABLE, valid_rows=(ROWS, ROWS + 1))[0]


def source(train: Path, window: int = 70, batch_rows: int = 16, **options: Any) -> BatchSource:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "WINDOW_ROWS", window)
        patch.setattr(batches, "BLOCK_ROWS", max(1, window // 4))
        fields = fit_feature_map(train, COLUMNS, 2)
        return BatchSource(train, fields, max_len=20, batch_rows=batch_rows, **options)


def order(epoch: list[Batch]) -> list[int]:
    return [row for batch in epoch for row in batch.row_B.tolist()]


def test_a_reader_that_stops_early_leaves_no_thread_behind(train: Path) -> None:
    before = set(threading.enumerate())
    epoch = source(train).shuffled(seed=3, epoch=2)
    next(epoch)
    epoch.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("window", "batch_rows", "share"),
    [(70, 16, 0.25), (16, 16, 0.5), (5_000, 16, 0.1), (300, 1, 0.3), (64, 2_000, 0.25)],
)
def test_an_epoch_of_a_share_has_each_click_once_and_so_many_of_the_others(
    train: Path, window: int, batch_rows: int, share: float
) -> None:
    opened = source(train, window, batch_rows, negative_share=share)
    epochs = [list(opened.shuffled(seed=1, epoch=epoch)) for epoch in range(3)]
    kept = round(share * (LABEL == 0).sum())
    assert opened.kept_share == kept / (LABEL == 0).sum()
    for epoch in epochs:
        rows = np.array(order(epoch))
        assert sorted(rows[LABEL[rows] == 1]) == np.flatnonzero(LABEL).tolist()
        assert len({*rows[LABEL[rows] == 0].tolist()}) == (LABEL[rows] == 0).sum() == kept
        assert len(rows) == opened.rows_per_epoch
        assert len(epoch) == opened.batches_per_epoch
        assert sorted(map(len, epoch))[1:] == [batch_rows] * (len(epoch) - 1)
    assert {*order(epochs[0])} != {*order(epochs[1])}


def test_every_row_without_a_click_is_drawn_as_often() -> None:
    epochs, block = 200, 100
    draw, drawn = NegativeDraw(LABEL, 0.25, block, "share"), np.zeros(ROWS)
    for epoch, first in product(range(epochs), range(0, ROWS, block)):
        places = draw.drawn(first, LABEL[first : first + block], seed=1, epoch=epoch)
        drawn[first + places] += 1
    # Blocks differ by their rounding alone; the deviation is that of as many coins.
    others = drawn[LABEL == 0] / epochs
    assert abs(others.mean() - 0.25) < 0.001
    assert others.std() < 1.3 * np.sqrt(0.25 * 0.75 / epochs)
    assert others.min() > 0.1


@pytest.mark.parametrize(
    ("rows", "clicks", "expected"),
    [(900, 20, 900), (9_000, 20, 1_000), (9_000, 500, 3_500), (9_000, 3_000, 9_000)],
)
def test_auto_makes_an_epoch_of_so_many_rows_or_of_seven_times_the_clicks(
    monkeypatch: pytest.MonkeyPatch, rows: int, clicks: int, expected: int
) -> None:
    monkeypatch.setattr(negatives, "AUTO_ROWS", 1_000)
    label = np.arange(rows) < clicks
    share = negatives.chosen_share("auto", label, "share")
    assert NegativeDraw(label, share, 100, "share").rows == expected


def test_a_share_that_keeps_nothing_is_an_error(train: Path) -> None:
    with pytest.raises(UserError, match=r"train\.negative_share"):
        source(train, negative_share=0.0001)


def test_ranks_have_like_numbers_of_rows_and_events(train: Path) -> None:
    shares = [list(source(train).shuffled(seed=3, epoch=2, rank=r, ranks=3)) for r in range(3)]
    for of_batch in zip(*shares, strict=True):
        assert max(map(len, of_batch)) - min(map(len, of_batch)) <= 1
        events = [len(share.history_ST[0]) for share in of_batch]
        assert max(events) <= 1.2 * min(events) + 2 * 7


def test_seed_and_epoch_alone_decide_the_order(train: Path) -> None:
    opened = source(train)
    first = order(list(opened.shuffled(seed=1, epoch=4)))
    assert order(list(source(train).shuffled(seed=1, epoch=4))) == first
    for seed, epoch in ((1, 5), (2, 4), (4, 1)):
        other = order(list(opened.shuffled(seed=seed, epoch=epoch)))
        assert sum(a == b for a, b in zip(first, other)) < 50
