"""Epochs: each row once, each click and a share of the others, by seed and rank; the H5 store."""

from collections.abc import Iterable
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.raw_tables import COLUMNS, as_lists, ragged, raw_table, to_train_h5, with_roles
from tossctr.batches import batch_source as batches
from tossctr.batches import negatives
from tossctr.batches.batch import Batch
from tossctr.batches.batch_source import BatchSource
from tossctr.batches.negatives import NegativeSampler
from tossctr.common.arrays import Ragged
from tossctr.common.errors import UserError
from tossctr.datasets.store import H5Table, H5Writer
from tossctr.datasets.table import Block, Header, MemoryTable
from tossctr.features.feature_map import FeatureMap, SequenceField
from tossctr.features.fitting import fit_feature_map

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


def rows_of(epoch: Iterable[Batch]) -> list[tuple[int, list[int]]]:
    """Each row handed out, in turn, and its history."""
    rows = []
    for batch in epoch:
        histories = as_lists(Ragged(batch.history_ST[0].numpy(), batch.offsets.numpy()))
        rows += list(zip(batch.row_B.tolist(), histories, strict=True))
    return rows


def order(epoch: Iterable[Batch]) -> list[int]:
    return [row for row, _ in rows_of(epoch)]


@pytest.mark.parametrize(
    ("window", "batch_rows", "share"), [(70, 16, 0.25), (5_000, 16, 0.1), (64, 2_000, 0.25)]
)
def test_an_epoch_of_a_share_has_each_click_once_and_so_many_of_the_others(
    train: Path, window: int, batch_rows: int, share: float
) -> None:
    opened = source(train, window, batch_rows, negative_sampling_rate=share)
    epochs = [list(opened.shuffled(seed=1, epoch=epoch)) for epoch in range(2)]
    kept = round(share * (LABEL == 0).sum())
    assert opened.sampling_rate == kept / (LABEL == 0).sum()
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
    sampler, drawn = NegativeSampler(LABEL, 0.25, block, "share"), np.zeros(ROWS)
    for epoch, first in product(range(epochs), range(0, ROWS, block)):
        indices = sampler.draw_rows(first, LABEL[first : first + block], seed=1, epoch=epoch)
        drawn[first + indices] += 1
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
    share = negatives.resolve_sampling_rate("auto", label, "share")
    assert NegativeSampler(label, share, 100, "share").rows == expected


def test_a_share_that_keeps_nothing_is_an_error(train: Path) -> None:
    with pytest.raises(UserError, match=r"train\.negative_sampling_rate"):
        source(train, negative_sampling_rate=0.0001)


def test_seed_and_epoch_alone_decide_the_order(train: Path) -> None:
    first = order(source(train).shuffled(seed=1, epoch=4))
    assert order(source(train).shuffled(seed=1, epoch=4)) == first
    for seed, epoch in ((1, 5), (2, 4), (4, 1)):
        other = order(source(train).shuffled(seed, epoch))
        assert sum(a == b for a, b in zip(first, other)) < 50


Lists = list[list[int]]
WIDTHS = st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64])


@st.composite
def lists_of_a_width(draw: st.DrawFn) -> tuple[Any, Lists]:
    """Events of some rows, and the type that they are written as."""
    width = draw(WIDTHS)
    values = st.integers(0, min(int(np.iinfo(width).max), 10**18 - 1))
    return width, draw(st.lists(st.lists(values, max_size=6), max_size=6))


@pytest.fixture(scope="module")
def h5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples: each overwrites the one before."""
    return tmp_path_factory.mktemp("properties") / "any.h5"


@given(st.lists(lists_of_a_width(), min_size=1, max_size=5), st.integers(0, 30), st.integers(0, 30))
def test_any_blocks_of_any_widths_are_read_back_by_any_ranges(
    h5: Path, blocks: list[tuple[Any, Lists]], first: int, rows: int
) -> None:
    columns = with_roles(numeric=("a",), profile=("b",), targets=(), sequences=("events",))
    with closing(H5Writer(h5, columns)) as writer:
        for width, lists in blocks:
            row = np.arange(writer.rows, writer.rows + len(lists))
            values = row[:, None].astype(np.float32), row[:, None].astype(np.uint64)
            writer.append(Block(*values, {"events": ragged(lists, width)}, row))
        writer.finish({}, {})
    expected = [values for _, lists in blocks for values in lists]
    with H5Table(h5) as table:
        assert table.rows == len(expected)
        # The widest that was written, and no wider.
        width = np.result_type(*(width for width, _ in blocks))
        assert table.file["sequence/events/values"].dtype == width
        for start, stop in ((first, first + rows), (0, len(expected))):
            start, stop = (min(each, len(expected)) for each in (start, stop))
            block = table.read(start, stop)
            assert as_lists(block.sequences["events"]) == expected[start:stop]
            for part in (block.row, block.categorical[:, 0], block.numeric[:, 0]):
                assert part.tolist() == list(range(start, stop))


@st.composite
def sources(draw: st.DrawFn) -> tuple[BatchSource, Lists]:
    """A source of batches, and the indices of all events, no two of which are equal."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=40))
    events = iter(range(sum(lengths)))
    lists = [[next(events) for _ in range(length)] for length in lengths]
    rows, none = np.arange(len(lists)), np.empty((len(lists), 0))
    block = Block(none, none, {"events": ragged(lists, np.uint16)}, rows)
    table = MemoryTable(Header(Path("any"), [], [], ["events"], {}), block)
    sequences = [SequenceField("events", list(range(sum(lengths))))]
    fields = FeatureMap([], [], sequences, [], min_count=1, fitted_on="")
    max_len, batch_rows = draw(st.integers(1, 12)), draw(st.integers(1, 50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "WINDOW_ROWS", draw(st.integers(1, 60)))
        patch.setattr(batches, "BLOCK_ROWS", draw(st.integers(1, 30)))
        source = BatchSource(table, fields, max_len=max_len, batch_rows=batch_rows)
    return source, [[index + 2 for index in values[-max_len:]] for values in lists]


@given(sources(), st.integers(0, 2**31), st.integers(0, 9), st.integers(1, 4), st.integers(0, 40))
def test_any_epoch_hands_out_each_row_once_over_all_ranks_with_its_newest_events(
    drawn: tuple[BatchSource, Lists], seed: int, epoch: int, ranks: int, first: int
) -> None:
    source, newest = drawn
    whole = list(source.shuffled(seed, epoch))
    assert sorted(rows_of(whole)) == list(enumerate(newest))
    assert len(whole) == source.batches_per_epoch
    assert sum(len(batch) < source.batch_rows for batch in whole) <= 1
    assert max(map(len, whole)) <= source.batch_rows
    for rank in range(ranks):
        share = list(source.shuffled(seed, epoch, rank=rank, ranks=ranks))
        # Every rank takes part in every step, perhaps without a row.
        assert [rows_of([b]) for b in share] == [rows_of([b])[rank::ranks] for b in whole]
        assert [batch.rows_of_step for batch in share] == list(map(len, whole))
        # An epoch that goes on is the whole one without the batches already taken.
        rest = source.shuffled(seed, epoch, first_batch=first, rank=rank, ranks=ranks)
        assert rows_of(rest) == rows_of(share[first:])


@given(sources(), st.integers(0, 40), st.integers(0, 40))
def test_any_range_in_order_is_covered_exactly_once(
    drawn: tuple[BatchSource, Lists], start: int, stop: int
) -> None:
    source, newest = drawn
    start, stop = sorted(min(each, source.rows) for each in (start, stop))
    batches = list(source.in_order(start, stop))
    assert sorted(rows_of(batches)) == list(enumerate(newest))[start:stop]
    assert all(1 <= len(batch) <= source.batch_rows for batch in batches)
    # A window is done with before the next one begins.
    windows = [(row - start) // source.window_rows for row, _ in rows_of(batches)]
    assert windows == sorted(windows)
