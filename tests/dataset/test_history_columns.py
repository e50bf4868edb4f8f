"""Statistics of whole histories, as a model takes them, against plain loops over the raw text."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feseq.dataset.batches import BatchSource
from feseq.dataset.encoding import Inputs
from feseq.dataset.feature_map import FeatureMap
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.history_statistics import NAMES, QUANTITIES, history_statistics
from support.raw_tables import ragged, raw_table, split_events, to_test_h5, to_train_h5, with_roles

SHARED = with_roles(numeric=("price",), shared=("events",))
# '07' is no item of the history, and the last is none that a plain array could count.
ITEMS = ["3", "7", "07", None, "999", "5000000"]


def table(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    tokens = np.array([3, 7, 12, 999, 5_000_000])
    lengths = random.integers(0, 40, rows)
    events = [",".join(map(str, tokens[random.integers(0, 5, n)])) for n in lengths]
    item = [ITEMS[i] for i in random.integers(0, len(ITEMS), rows)]
    return raw_table(rows, seed, events=events, item=item)


def plain(row: dict, names: tuple[str, ...]) -> list[float]:
    """The numbers of these names in their order."""
    events = split_events(row["events"])
    counts = Counter(events)
    shares = [n / len(events) for n in counts.values()]
    numbers = {
        "length": math.log(1 + len(events)),
        "distinct": math.log(1 + len(counts)),
        "entropy": -sum(share * math.log(share) for share in shares),
    }
    return [numbers[name] for name in names]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FeatureMap]:
    folder = tmp_path_factory.mktemp("h5")
    train, _ = to_train_h5(folder, table(300, 1), columns=SHARED, valid_rows=(298, 299))
    return folder, FeatureMap.from_dict(fit_feature_map(train, SHARED, 1).to_dict())


@pytest.mark.parametrize("names", [QUANTITIES, ("length",), ("entropy", "newest"), ()])
def test_they_stand_behind_the_numeric_columns_whatever_is_cut(
    made: tuple[Path, FeatureMap], names: tuple[str, ...]
) -> None:
    folder, fields = made
    rows = table(200, 2)
    h5 = to_test_h5(folder, rows, columns=SHARED)
    plainly = tuple(name for name in QUANTITIES if name in names)
    inputs = Inputs(numbers=("minmax", "bucket"), statistics=names)
    known = {field.column: field for field in fields.statistics}
    chosen = [known[f"{name} of events"] for name in plainly]
    vocabulary = fields.sequences[0].vocabulary
    raw = rows.to_pylist()
    for batch in BatchSource(h5, fields, max_len=3, batch_rows=64, inputs=inputs).in_order():
        minmax_BN = batch.numbers["minmax"]
        assert minmax_BN.shape == batch.numbers["bucket"].shape == (len(batch), 1 + len(chosen))
        for i, row in enumerate(batch.row_B.tolist()):
            expected = plain(raw[row], plainly)
            for value, number, field in zip(minmax_BN[i, 1:].tolist(), expected, chosen):
                scaled = (number - field.minimum) / (field.maximum - field.minimum)
                assert value == pytest.approx(min(1, max(0, scaled)), abs=1e-5)
            events = split_events(raw[row]["events"])
            newest = 3 + vocabulary.index(events[-1]) if events else 0
            assert batch.context_BC[i].tolist() == ([newest] if "newest" in names else [])


def test_their_range_is_that_of_the_train_rows(made: tuple[Path, FeatureMap]) -> None:
    _, fields = made
    rows = [plain(row, QUANTITIES) for row in table(300, 1).to_pylist()[:298]]
    for field, values in zip(fields.statistics, zip(*rows)):
        assert field.minimum == pytest.approx(min(values), abs=1e-6)
        assert field.maximum == pytest.approx(max(values), abs=1e-6)


def test_blank_histories_have_the_statistics_of_empty_ones(made: tuple[Path, FeatureMap]) -> None:
    folder, fields = made
    inputs = Inputs(statistics=NAMES)
    source = BatchSource(folder / "valid.h5", fields, max_len=3, batch_rows=9, inputs=inputs)
    batch = next(source.in_order(blank_histories=True))
    assert (batch.numbers["minmax"][:, 1:] == 0).all()
    assert (batch.context_BC == 0).all()


def test_a_target_is_counted_and_found_from_the_newest_event_on() -> None:
    lists = [[4, 7, 4, 2], [7], [], [5, 5]]
    target = [4, 3, 4, -1]
    found = history_statistics(ragged(lists), np.array(target))
    for values, events, wanted in zip(found[:, 3:].tolist(), lists, target):
        recency = 1 / (1 + events[::-1].index(wanted)) if wanted in events else 0
        newest = events[-1] if events else 0
        assert values == pytest.approx([events.count(wanted), recency, newest])
