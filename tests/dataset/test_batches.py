"""Batches: each row once, encoded right, little padding, and no order that training could learn."""

import threading
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from feseq.common.errors import UserError
from feseq.dataset import batches, negatives
from feseq.dataset.batch import Batch
from feseq.dataset.batches import BatchSource
from feseq.dataset.encoding import Inputs
from feseq.dataset.feature_map import FeatureMap
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.negatives import NegativeDraw, NegativeShare
from support.raw_tables import raw_table, split_events, to_train_h5, with_roles

ROWS = 1_003
IN_USE = with_roles(context=("shop",))
Open = Callable[..., BatchSource]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Histories of long-tailed length, in no order; one is far longer than any max_len here."""
    random = np.random.default_rng(2)
    lengths = random.lognormal(2.5, 1.0, ROWS).astype(int)
    lengths[:5] = 0, 0, 1, 2, 900
    events = [",".join(map(str, random.integers(0, 500, n))) for n in random.permutation(lengths)]
    shop = random.choice(["a", "b", None], ROWS + 2)
    return raw_table(ROWS + 2, events=[*events, "3", "4"], shop=shop)


@pytest.fixture(scope="module")
def train(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows as in `table`, but for the two last, which are in valid.h5."""
    folder = tmp_path_factory.mktemp("h5")
    return to_train_h5(folder, table, columns=IN_USE, valid_rows=(ROWS, ROWS + 1))[0]


@pytest.fixture(scope="module")
def fields(train: Path) -> FeatureMap:
    return fit_feature_map(train, IN_USE, min_count=2)


@pytest.fixture
def source(train: Path, fields: FeatureMap, monkeypatch: pytest.MonkeyPatch) -> Open:
    def opened(
        *,
        window: int = 70,
        max_len: int = 20,
        batch_rows: int = 16,
        share: NegativeShare = 1.0,
        whole: bool = False,
    ) -> BatchSource:
        monkeypatch.setattr(batches, "WINDOW_ROWS", window)
        monkeypatch.setattr(batches, "BLOCK_ROWS", max(1, window // 4))
        return BatchSource(
            train,
            fields,
            max_len=max_len,
            batch_rows=batch_rows,
            inputs=Inputs(whole_histories=whole),
            negative_share=share,
        )

    return opened


def order(epoch: list[Batch]) -> list[int]:
    return [row for batch in epoch for row in batch.row_B.tolist()]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("max_len", [1, 20, 1_000])
def test_batches_equal_an_independent_encoding(
    source: Open, table: pa.Table, fields: FeatureMap, max_len: int, whole: bool
) -> None:
    raw = table.to_pylist()
    opened = source(max_len=max_len, whole=whole)
    for batch in [*opened.shuffled(seed=3, epoch=0), *opened.in_order()]:
        offsets = batch.offsets.tolist()
        assert batch.history_ST.shape == (1, offsets[-1])
        assert batch.label_B is not None
        assert batch.numbers["minmax"].dtype == batch.label_B.dtype == torch.float32
        for i, row_number in enumerate(batch.row_B.tolist()):
            row = raw[row_number]
            assert batch.label_B[i] == row["y"]
            vocabulary = fields.sequences[0].vocabulary
            events = split_events(row["events"])
            expected = [vocabulary.index(t) + 2 if t in vocabulary else 1 for t in events]
            history = batch.history_ST[0, offsets[i] : offsets[i + 1]].tolist()
            assert history == (expected if whole else expected[-max_len:])
            start, target = batch.layout.start_B[i : i + 2].tolist()
            places = batch.layout.place_N[start : target - 1]
            at_positions = batch.history_ST[0, batch.layout.event_V[places]].tolist()
            assert at_positions == expected[-max_len:]
            for value, field in (
                (batch.profile_BP[i, 0], fields.profile[0]),
                (batch.target_BG[i, 0], fields.targets[0]),
                (batch.context_BC[i, 0], fields.context[0]),
            ):
                word = row[field.column]
                expected_index = 2 if word is None else field.vocabulary.index(word) + 3
                assert value == expected_index
            for value, field in zip(batch.numbers["minmax"][i].tolist(), fields.numeric):
                raw_value = row[field.column]
                if raw_value is None or np.isnan(raw_value):
                    assert value == 0
                    continue
                inside = min(max(raw_value, field.minimum), field.maximum)
                scaled = (inside - field.minimum) / (field.maximum - field.minimum)
                assert value == pytest.approx(scaled, abs=1e-6)


def test_parallel_sequences_are_cut_and_ordered_together(tmp_path: Path, table: pa.Table) -> None:
    columns = with_roles(sequences=("events", "visits"), targets=("item", "country"), profile=())
    visits = [
        ",".join(str(int(token) + 1000) for token in text.split(",")) if text else None
        for text in table["events"].to_pylist()
    ]
    both = table.append_column("visits", [visits])
    train, _ = to_train_h5(tmp_path, both, columns=columns, valid_rows=(0, 1))
    fields = fit_feature_map(train, columns, 1)
    events, shifted = (np.array([-2, -1, *field.vocabulary]) for field in fields.sequences)
    for batch in BatchSource(train, fields, max_len=7, batch_rows=64).shuffled(1, 0):
        first, second = batch.history_ST.numpy()
        assert np.array_equal(events[first] + 1000, shifted[second])
        assert batch.target_BG.shape == (len(batch), 2)
        assert batch.profile_BP.shape == (len(batch), 0)


@pytest.mark.parametrize(
    ("ids", "inputs", "found"),
    [
        (("age",), Inputs(), ["age"]),
        (("age",), Inputs(levels=256), ["age", "few"]),
        ((), Inputs(levels=3), ["few"]),
        ((), Inputs(levels=2), []),
    ],
)
def test_numbers_that_count_as_categories_have_indices_by_value(
    tmp_path: Path, ids: tuple[str, ...], inputs: Inputs, found: list[str]
) -> None:
    few = [[0.5, None, 0.1, 7.0][i % 4] for i in range(200)]
    table = raw_table(200, few=pa.array(few, pa.float64()))
    columns = with_roles(numeric=("price", "age", "few"), ids=ids)
    train, valid = to_train_h5(tmp_path, table, columns=columns, valid_rows=range(100, 200))
    fields = FeatureMap.from_dict(fit_feature_map(train, columns, 2).to_dict())
    rows = table.to_pylist()
    counts = {name: Counter(row[name] for row in rows[:100]) for name in found}
    known = {
        name: sorted(x for x, n in count.items() if x is not None and n >= 2)
        for name, count in counts.items()
    }
    # Also values that the train rows lack.
    for h5, first in ((train, 0), (valid, 100)):
        for batch in BatchSource(h5, fields, max_len=7, batch_rows=64, inputs=inputs).in_order():
            for row, codes in zip(batch.row_B.tolist(), batch.context_BC.tolist()):
                values = [rows[first + row][name] for name in found]
                assert codes == [
                    2 if x is None else 3 + known[name].index(x) if x in known[name] else 1
                    for name, x in zip(found, values)
                ]


def test_a_reader_that_stops_early_leaves_no_thread_behind(source: Open) -> None:
    before = set(threading.enumerate())
    epoch = source().shuffled(seed=3, epoch=2)
    next(epoch)
    epoch.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("window", "batch_rows", "share"),
    [(70, 16, 0.25), (16, 16, 0.5), (5_000, 16, 0.1), (300, 1, 0.3), (64, 2_000, 0.25)],
)
def test_an_epoch_of_a_share_has_each_click_once_and_so_many_of_the_others(
    source: Open, table: pa.Table, window: int, batch_rows: int, share: float
) -> None:
    label = table["y"].to_numpy()[:ROWS]
    opened = source(window=window, batch_rows=batch_rows, share=share)
    epochs = [list(opened.shuffled(seed=1, epoch=epoch)) for epoch in range(3)]
    kept = round(share * (label == 0).sum())
    assert opened.kept_share == kept / (label == 0).sum()
    for epoch in epochs:
        rows = order(epoch)
        assert sorted(row for row in rows if label[row]) == np.flatnonzero(label).tolist()
        others = [row for row in rows if not label[row]]
        assert len(set(others)) == len(others) == kept
        assert len(rows) == opened.rows_per_epoch
        assert len(epoch) == opened.batches_per_epoch
        assert sorted(map(len, epoch))[1:] == [batch_rows] * (len(epoch) - 1)
    first, second, _ = (set(order(epoch)) for epoch in epochs)
    assert len(first & second) < len(first)


def test_every_row_without_a_click_is_drawn_as_often(table: pa.Table) -> None:
    label, epochs, block = table["y"].to_numpy()[:ROWS], 200, 100
    draw, drawn = NegativeDraw(label, 0.25, block, "share"), np.zeros(ROWS)
    for epoch, first in product(range(epochs), range(0, ROWS, block)):
        places = draw.drawn(first, label[first : first + block], seed=1, epoch=epoch)
        drawn[first + places] += 1
    # Blocks differ by their rounding alone; the deviation is that of as many coins.
    others = drawn[label == 0] / epochs
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
    assert negatives.chosen_share(0.3, label, "share") == 0.3


def test_a_share_that_keeps_nothing_is_an_error(source: Open) -> None:
    with pytest.raises(UserError, match=r"train\.negative_share"):
        source(share=0.0001)


def test_ranks_have_like_numbers_of_rows_and_events(source: Open) -> None:
    shares = [list(source().shuffled(seed=3, epoch=2, rank=r, ranks=3)) for r in range(3)]
    for of_batch in zip(*shares, strict=True):
        assert max(map(len, of_batch)) - min(map(len, of_batch)) <= 1
        events = [len(share.history_ST[0]) for share in of_batch]
        assert max(events) <= 1.2 * min(events) + 2 * 7


def test_seed_and_epoch_alone_decide_the_order(source: Open) -> None:
    first = order(list(source().shuffled(seed=1, epoch=4)))
    assert order(list(source().shuffled(seed=1, epoch=4))) == first
    for seed, epoch in ((1, 5), (2, 4), (4, 1)):
        other = order(list(source().shuffled(seed=seed, epoch=epoch)))
        assert sum(a == b for a, b in zip(first, other)) < 50
