"""Properties of the H5 store and of batches, for any input, against plain Python."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feseq.common.ragged import Ragged
from feseq.dataset import batches
from feseq.dataset.batch import Batch
from feseq.dataset.batches import BatchSource
from feseq.dataset.block import Block
from feseq.dataset.feature_map import FeatureMap, SequenceField
from feseq.dataset.store import H5Table, H5Writer
from support.raw_tables import as_lists, ragged

Lists = list[list[int]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples of a test: each overwrites the files of the one before."""
    return tmp_path_factory.mktemp("properties")


# H5 store

WIDTHS = [np.uint8, np.uint16, np.uint32, np.uint64]
LIMITS = st.sampled_from([0, 2**8 - 1, 2**16 - 1, 2**32 - 1, 10**18 - 1])
LISTS = LIMITS.flatmap(
    lambda most: st.lists(st.lists(st.integers(0, most), max_size=6), max_size=6)
)


def write_h5(path: Path, blocks: Sequence[Lists], dtypes: Sequence[Any]) -> None:
    """Each row has its number as its category and number, and a list as its events."""
    with closing(H5Writer(path, ["number"], ["category"], ["events"])) as writer:
        for lists, dtype in zip(blocks, dtypes):
            row = np.arange(writer.rows, writer.rows + len(lists))
            values = row[:, None].astype(np.float32), row[:, None].astype(np.uint64)
            writer.append(Block(*values, {"events": ragged(lists, dtype)}, row))
        words = list(map(str, range(max(1, writer.rows))))
        writer.finish({"category": words}, {"simulated": False})


@given(blocks=st.lists(LISTS, min_size=1, max_size=5), data=st.data())
def test_any_blocks_of_any_widths_are_read_back_by_any_ranges(
    folder: Path, blocks: list[Lists], data: st.DataObject
) -> None:
    dtypes = []
    for lists in blocks:
        narrowest = np.min_scalar_type(max(map(max, filter(None, lists)), default=0))
        dtypes.append(data.draw(st.sampled_from([w for w in WIDTHS if np.can_cast(narrowest, w)])))
    write_h5(folder / "any.h5", blocks, dtypes)
    expected = [values for lists in blocks for values in lists]
    with H5Table(folder / "any.h5") as table:
        assert table.rows == len(expected)
        # The widest that was written, and no wider.
        assert table.file["sequence/events/values"].dtype == np.result_type(*dtypes)
        assert table.file["sequence/events/values"].shape == (sum(map(len, expected)),)
        bounds = st.tuples(*[st.integers(0, len(expected))] * 2).map(sorted)
        ranges = data.draw(st.lists(bounds, max_size=4))
        for start, stop in [*ranges, (0, len(expected))]:
            block = table.read(start, stop)
            assert as_lists(block.sequences["events"]) == expected[start:stop]
            for part in (block.row, block.categorical[:, 0], block.numeric[:, 0]):
                assert part.tolist() == list(range(start, stop))
        block_rows = data.draw(st.integers(1, len(expected) + 1))
        table.block_rows = block_rows
        pieces = [as_lists(block.sequences["events"]) for block in table.blocks()]
    assert [values for piece in pieces for values in piece] == expected
    assert all(len(piece) == block_rows for piece in pieces[:-1])


# Batch source


@st.composite
def sources(draw: st.DrawFn, folder: Path) -> tuple[BatchSource, Lists]:
    """A source of batches, and the indices of all events, no two of which are equal."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=40))
    events = iter(range(sum(lengths)))
    lists = [[next(events) for _ in range(length)] for length in lengths]
    write_h5(folder / "batches.h5", [lists], [np.uint16])
    sequences = [SequenceField("events", list(range(sum(lengths))))]
    fields = FeatureMap([], [], sequences, [], min_count=1, fitted_on="")
    max_len, batch_rows = draw(st.integers(1, 12)), draw(st.integers(1, 50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "WINDOW_ROWS", draw(st.integers(1, 60)))
        patch.setattr(batches, "BLOCK_ROWS", draw(st.integers(1, 30)))
        source = BatchSource(folder / "batches.h5", fields, max_len=max_len, batch_rows=batch_rows)
    newest = [[index + 2 for index in values[-max_len:]] for values in lists]
    return source, newest


def rows_of(epoch: Iterator[Batch] | list[Batch]) -> list[tuple[int, list[int]]]:
    """Each row handed out, in turn, and its history."""
    found = []
    for batch in epoch:
        histories = as_lists(Ragged(batch.history_ST[0].numpy(), batch.offsets.numpy()))
        found += list(zip(batch.row_B.tolist(), histories, strict=True))
    return found


@given(data=st.data(), seed=st.integers(0, 2**31), epoch=st.integers(0, 9), ranks=st.integers(1, 4))
def test_any_epoch_hands_out_each_row_once_over_all_ranks_with_its_newest_events(
    folder: Path, data: st.DataObject, seed: int, epoch: int, ranks: int
) -> None:
    source, newest = data.draw(sources(folder))
    with source.table:
        whole = list(source.shuffled(seed, epoch))
        shares = [list(source.shuffled(seed, epoch, rank=i, ranks=ranks)) for i in range(ranks)]
        first = data.draw(st.integers(0, len(whole) + 1))
        rests = [
            list(source.shuffled(seed, epoch, first_batch=first, rank=i, ranks=ranks))
            for i in range(ranks)
        ]
    assert sorted(rows_of(whole)) == list(enumerate(newest))
    assert len(whole) == source.batches_per_epoch
    assert sum(len(batch) < source.batch_rows for batch in whole) <= 1
    assert max(map(len, whole)) <= source.batch_rows
    for rank in range(ranks):
        # Every rank takes part in every step, perhaps without a row.
        assert [rows_of([b]) for b in shares[rank]] == [rows_of([b])[rank::ranks] for b in whole]
        assert [batch.step_rows for batch in shares[rank]] == list(map(len, whole))
        # An epoch that goes on is the whole one without the batches already taken.
        assert rows_of(rests[rank]) == rows_of(shares[rank][first:])


@given(data=st.data())
def test_any_range_in_order_is_covered_exactly_once(folder: Path, data: st.DataObject) -> None:
    source, newest = data.draw(sources(folder))
    start = data.draw(st.integers(0, source.rows))
    stop = data.draw(st.integers(start, source.rows))
    with source.table:
        found = list(source.in_order(start, stop))
    assert sorted(rows_of(found)) == list(enumerate(newest))[start:stop]
    assert all(1 <= len(batch) <= source.batch_rows for batch in found)
    # A window is done with before the next one begins.
    windows = [(row - start) // source.window_rows for row, _ in rows_of(found)]
    assert windows == sorted(windows)
    for window in range(windows[-1] + 1 if windows else 0):
        lengths = [len(h) for place, (_, h) in zip(windows, rows_of(found)) if place == window]
        assert lengths == sorted(lengths, reverse=True)
