"""Properties of parser, store, batches and submission, for any input, against plain Python."""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from feseq.common.errors import UserError
from feseq.common.ragged import Ragged
from feseq.dataset import batches
from feseq.dataset.batches import Batch, BatchSource
from feseq.dataset.feature_map import FeatureMap, SequenceField
from feseq.dataset.sequence_parser import parse_sequences
from feseq.dataset.store import Block, H5Table, H5Writer
from feseq.predict.submission import write_submission
from support.raw_tables import split_events

Texts = list[str | None]
Lists = list[list[int]]

quick = settings(max_examples=100, deadline=None)
with_files = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples of a test: each overwrites the files of the one before."""
    return tmp_path_factory.mktemp("properties")


def ragged(lists: Lists, dtype: Any = np.uint64) -> Ragged:
    values = [value for values in lists for value in values]
    return Ragged(np.array(values, dtype), np.cumsum([0, *map(len, lists)], dtype=np.int64))


def as_lists(rows: Ragged) -> Lists:
    return [rows.values[a:b].tolist() for a, b in pairwise(rows.offsets.tolist())]


# Parser

DIGITS = st.integers(1, 18).flatmap(lambda n: st.text("0123456789", min_size=n, max_size=n))
TOKENS = st.sampled_from([st.text("0123456789", min_size=1, max_size=4), DIGITS])
TEXT = TOKENS.flatmap(lambda token: st.none() | st.lists(token, max_size=30).map(",".join))
# Not empty, no comma, and not 1 to 18 ASCII digits.
BAD_TOKEN = st.text(
    st.characters(exclude_characters=",", exclude_categories=["Cs"]) | st.sampled_from("0123456789")
).filter(lambda token: not (token.isascii() and token.isdigit() and len(token) <= 18))


@st.composite
def columns_of(draw: st.DrawFn, texts: Texts) -> pa.Array:
    """`texts` as a column of any type that holds text, perhaps a part of a longer one."""
    kind = draw(st.sampled_from([pa.string(), pa.large_string()]))
    around = st.lists(st.sampled_from(["1,2", "no number", "", None]), max_size=3)
    before, after = draw(around), draw(around)
    column = pa.array([*before, *texts, *after], kind)
    if draw(st.booleans()):
        column = column.dictionary_encode(draw(st.sampled_from(["mask", "encode"])))
    return column.slice(len(before), len(texts))


@quick
@given(texts=st.lists(TEXT, max_size=12), data=st.data())
def test_any_text_of_integers_is_parsed_as_by_a_plain_loop(
    texts: Texts, data: st.DataObject
) -> None:
    column = data.draw(columns_of(texts))
    # Any rows in any order, some of them twice.
    order = data.draw(st.lists(st.sampled_from(range(len(texts))), max_size=20) if texts else
                      st.just([]))  # fmt: skip
    rows = np.arange(len(texts))
    parsed = parse_sequences(column, "events", "raw.parquet", rows, np.array(order, np.int64))
    expected = [split_events(texts[place]) for place in order]
    assert as_lists(parsed) == expected
    assert parsed.values.dtype == np.min_scalar_type(
        max(map(max, filter(None, expected)), default=0)
    )


@quick
@given(
    good=st.lists(TEXT, min_size=2, max_size=8),
    bad=st.dictionaries(st.integers(0, 7), BAD_TOKEN, min_size=1, max_size=3),
    data=st.data(),
)
def test_any_bad_token_is_refused_with_its_own_row(
    good: Texts, bad: dict[int, str], data: st.DataObject
) -> None:
    bad = {row: token for row, token in bad.items() if row < len(good)}
    texts = list(good)
    for row, token in bad.items():
        tokens = (texts[row] or "1").split(",")
        tokens.insert(data.draw(st.integers(0, len(tokens))), token)
        texts[row] = ",".join(tokens)
    column = data.draw(columns_of(texts))
    order = data.draw(st.lists(st.sampled_from(range(len(texts))), unique=True))
    rows = data.draw(
        st.lists(st.integers(0, 10**6), min_size=len(texts), max_size=len(texts), unique=True)
    )
    arguments = (column, "events", "raw.parquet", np.array(rows), np.array(order, np.int64))
    found = sorted(bad.keys() & set(order))
    if not found:
        # Rows that are not asked for are not read.
        assert as_lists(parse_sequences(*arguments)) == [split_events(texts[i]) for i in order]
        return
    with pytest.raises(UserError) as refusal:
        parse_sequences(*arguments)
    where = f"raw.parquet: column 'events', row {rows[found[0]]}: token {bad[found[0]]!r} is not"
    assert str(refusal.value).startswith(where)


# Ragged store

WIDTHS = [np.uint8, np.uint16, np.uint32, np.uint64]
LIMITS = st.sampled_from([0, 2**8 - 1, 2**16 - 1, 2**32 - 1, 10**18 - 1])
LISTS = LIMITS.flatmap(
    lambda most: st.lists(st.lists(st.integers(0, most), max_size=6), max_size=6)
)


def block_of(lists: Lists, first_row: int, dtype: Any) -> Block:
    """A block with as many rows as lists, each with its row's number as its category and number."""
    rows = np.arange(first_row, first_row + len(lists))
    return Block(
        rows[:, None].astype(np.float32),
        rows[:, None].astype(np.min_scalar_type(int(rows.max(initial=0)))),
        {"events": ragged(lists, dtype)},
        rows,
    )


def write_h5(path: Path, blocks: Sequence[Lists], dtypes: Sequence[Any]) -> None:
    with H5Writer(path, ["number"], ["category"], ["events"]) as writer:
        for lists, dtype in zip(blocks, dtypes):
            writer.append(block_of(lists, writer.rows, dtype))
        words = list(map(str, range(max(1, writer.rows))))
        writer.finish({"category": words}, {"simulated": False})


@with_files
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
        pieces = [as_lists(block.sequences["events"]) for block in table.blocks(block_rows)]
    assert [values for piece in pieces for values in piece] == expected
    assert all(len(piece) == block_rows for piece in pieces[:-1])


@quick
@given(lists=LISTS, newest=st.none() | st.integers(0, 8), data=st.data())
def test_any_rows_are_taken_as_by_a_plain_loop(
    lists: Lists, newest: int | None, data: st.DataObject
) -> None:
    # Rows before and behind, which the offsets leave out.
    whole = ragged([[1, 2], *lists, [3]])
    part = Ragged(whole.values, whole.offsets[1:-1])
    rows = data.draw(st.lists(st.integers(-len(lists), len(lists) - 1)) if lists else st.just([]))
    taken = part.take(np.array(rows, np.int64), newest)
    most = 99 if newest is None else newest
    assert as_lists(taken) == [lists[row][max(0, len(lists[row]) - most) :] for row in rows]
    assert taken.offsets[0] == 0
    assert taken.values.dtype == np.uint64


# Batch source


@st.composite
def sources(draw: st.DrawFn, folder: Path) -> tuple[BatchSource, Lists]:
    """A source of batches, and the indices of all events, no two of which are equal."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=40))
    events = iter(range(sum(lengths)))
    lists = [[next(events) for _ in range(length)] for length in lengths]
    write_h5(folder / "batches.h5", [lists], [np.uint16])
    vocabulary = list(range(sum(lengths)))
    fields = FeatureMap([], [], [SequenceField("events", vocabulary)], [], min_count=1)
    max_len, batch_rows = draw(st.integers(1, 12)), draw(st.integers(1, 50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "WINDOW_ROWS", draw(st.integers(1, 60)))
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


@with_files
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


@with_files
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


# Submission

ODD = ["", " ", " x", "x ", '"', '""', ",", "a,b", "\n", "\r", "a\r\nb", "007", "7", "1e5", "NA"]
ODD += ["nan", "null", "아이디", "\ufeff", "\u2028", "'", "\\", "\t", "#", "=1+1", "true"]
ID = st.sampled_from(ODD) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5
)
IDS = st.lists(ID, unique=True, min_size=1, max_size=20)


def write_shards(folder: Path, logit: list[tuple[str, float]], cuts: list[int]) -> list[Path]:
    """The pairs in shards that end at `cuts`."""
    bounds = [0, *sorted(cuts), len(logit)]
    paths = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        ids, values = (
            [i for i, _ in logit[start:stop]],
            [x for _, x in logit[start:stop]],
        )
        shard = {"id": pa.array(ids, pa.string()), "logit": pa.array(values, pa.float32())}
        paths.append(folder / f"{number}.parquet")
        pq.write_table(pa.table(shard), paths[-1])
    return paths


def write_sample(path: Path, ids: Sequence[str], data: st.DataObject) -> None:
    """A sample submission as any program might write it."""
    # Python before 3.13 leaves a lone \r unquoted.
    quotings = [csv.QUOTE_ALL] + [csv.QUOTE_MINIMAL] * ("\r" not in "".join(ids))
    quoting = data.draw(st.sampled_from(quotings))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    columns = data.draw(st.permutations(["the ID", "y", "more"]))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=quoting, lineterminator=end)
        writer.writerow(columns)
        writer.writerows([i if name == "the ID" else "0" for name in columns] for i in ids)


def submit(shards: list[Path], sample: Path | None, folder: Path) -> list[list[str]]:
    """Submit, and read the CSV with Python's own reader."""
    path = folder / "submission.csv"
    write_submission(shards, sample, path, id_column="the ID", label_column="y")
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file, strict=True))


@with_files
@given(ids=IDS, data=st.data())
def test_any_ids_in_any_shards_and_order_keep_their_probability(
    ids: list[str], data: st.DataObject, folder: Path
) -> None:
    logit = {i: data.draw(st.floats(-80, 80, width=32)) for i in ids}
    order = data.draw(st.permutations(ids))
    cuts = data.draw(st.lists(st.integers(0, len(ids)), max_size=3))
    shards = write_shards(folder, [(i, logit[i]) for i in order], cuts)
    sample = None
    if data.draw(st.booleans()):
        sample = folder / "sample.csv"
        order = data.draw(st.permutations(ids))
        write_sample(sample, order, data)
    header, *rows = submit(shards, sample, folder)
    assert header == ["the ID", "y"]
    assert [i for i, _ in rows] == order
    expected = [1 / (1 + math.exp(-logit[i])) for i in order]
    assert [float(value) for _, value in rows] == pytest.approx(expected, rel=1e-6)


@with_files
@given(
    predicted=st.lists(ID, min_size=1, max_size=9),
    dropped=st.sets(st.integers(0, 8)),
    added=st.lists(ID, max_size=3),
    data=st.data(),
)
def test_any_ids_missing_extra_or_duplicate_are_counted_and_nothing_is_written(
    predicted: list[str], dropped: set[int], added: list[str], data: st.DataObject
) -> None:
    wanted = [name for i, name in enumerate(predicted) if i not in dropped] + added
    twice = [sum(n > 1 for n in Counter(ids).values()) for ids in (predicted, wanted)]
    missing, extra = len({*wanted} - {*predicted}), len({*predicted} - {*wanted})
    assume(any((*twice, missing, extra)))
    with TemporaryDirectory() as name:
        folder = Path(name)
        shards = write_shards(folder, [(i, 0.5) for i in predicted], [])
        write_sample(folder / "sample.csv", data.draw(st.permutations(wanted)), data)
        before = sorted(os.listdir(folder))
        with pytest.raises(UserError) as refusal:
            submit(shards, folder / "sample.csv", folder)
        assert sorted(os.listdir(folder)) == before
    message = str(refusal.value)
    if twice[0]:
        assert message.startswith(f"the predictions: {twice[0]} IDs occur more than once")
    elif twice[1]:
        assert message.startswith(f"{folder / 'sample.csv'}: {twice[1]} IDs occur more than once")
    else:
        assert (f"{missing} of its IDs have no prediction" in message) == bool(missing)
        assert (f"{extra} predicted IDs are not in it" in message) == bool(extra)
        assert f"({len(wanted)} IDs in it, {len(predicted)} predicted)" in message
