"""Feature maps and batches against one plain encoding of the raw rows; maps that do not fit."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from support.raw_tables import COLUMNS, ragged, raw_table, to_test_h5, to_train_h5, with_roles
from tossctr.batches import batch_source as batches
from tossctr.batches.batch import Batch
from tossctr.batches.batch_source import BatchSource
from tossctr.common.errors import UserError
from tossctr.config.columns import Columns
from tossctr.datasets.store import H5Table
from tossctr.features.encoding import FeatureEncoder, Inputs
from tossctr.features.feature_map import FeatureMap
from tossctr.features.fitting import fit_feature_map
from tossctr.features.history_statistics import (
    CODE_STATISTICS,
    STATISTICS,
    history_statistics,
    statistic_of,
)

TRAIN_ROWS, ROWS = 300, 400
# '07', '4 ' and 'x' look like no token, and '٣' only to Python; the two last are far from small.
ITEMS = ["0", "3", "7", "07", "12", "4 ", "x", "٣", "", None, "3000000", str(10**30)]
INTEGERS = ["0", "3", "7", "12", "5", "40", "3000000", "7000000"]
TEXTS = ["x", "3", "4 ", str(10**30), "5", "٣", "y", "7000000"]
TWO = {"sequences": ("events", "visits"), "targets": ("item", "film"), "profile": ()}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Columns of every role; values are more or less often, and the last rows have new ones."""
    random = np.random.default_rng(2)
    lengths = np.minimum(random.lognormal(1.5, 1.0, ROWS).astype(int), 60)
    lengths[:3] = 0, 1, 300

    def draw(words: list[Any], new: str, count: int = 1, row: int = 0) -> list[Any]:
        indices = np.minimum(random.geometric(0.25, count) - 1, len(words) - 1)
        return [new if row >= TRAIN_ROWS and i == 3 else words[i] for i in indices]

    events = [draw(INTEGERS, "8000000", length, row) for row, length in enumerate(lengths)]
    texts = [draw(TEXTS, "new", length, row) for row, length in enumerate(lengths)]
    few = [[0.5, None, 0.1, 7.0, 8.0 * (i >= TRAIN_ROWS)][i % 5] for i in range(ROWS)]
    return raw_table(
        ROWS,
        events=[",".join(row) for row in events],
        # As many tokens, all of them small.
        visits=[",".join(f"9{token[:2]}" for token in row) for row in events],
        texts=texts,
        item=[draw(ITEMS, "new", row=row)[0] for row in range(ROWS)],
        film=[draw(["a", None, "b", "c"], "d", row=row)[0] for row in range(ROWS)],
        shop=random.choice(["a", "b", None], ROWS),
        few=pa.array(few, pa.float64()),
    )


def often(values: Iterable[Any], least: int) -> list[Any]:
    """The values that occur so often, ascending."""
    return sorted(x for x, n in Counter(values).items() if x is not None and n >= least)


def words_of(row: Row, sequence: str) -> list[str]:
    value = row[sequence]
    return value if isinstance(value, list) else value.split(",") if value else []


def number(row: Row, name: str) -> float:
    return float(np.float32(math.nan if row[name] is None else row[name]))


def statistics(row: Row, sequence: str) -> dict[str, float]:
    counts = Counter(words_of(row, sequence))
    shares = [n / counts.total() for n in counts.values()]
    return {
        f"length of {sequence}": math.log(1 + counts.total()),
        f"distinct of {sequence}": math.log(1 + len(counts)),
        f"entropy of {sequence}": -sum(share * math.log(share) for share in shares),
    }


class Plain:
    """The encoding of rows, with all that is learned from some of them."""

    def __init__(self, train: list[Row], columns: Columns, inputs: Inputs, least: int) -> None:
        self.columns, self.inputs, self.train = columns, inputs, train
        self.known = {
            name: often((row[name] for row in train), least) for name in columns.categorical
        }
        for target, sequence in zip(columns.targets, columns.sequences):
            words = [word for row in train for word in words_of(row, sequence)]
            self.known[sequence] = often(map(int, words), least) if sequence != "texts" else []
            if sequence in columns.shared:
                self.known[target] = often([*words, *(row[target] for row in train)], least)
        self.ranges = {}
        for name in columns.numeric:
            values = [x for row in train if math.isfinite(x := number(row, name))]
            self.known[name] = often(values, least)
            self.ranges[name] = min(values), max(values)
        for sequence in columns.sequences:
            by_row = [statistics(row, sequence) for row in train]
            for name in by_row[0]:
                values = [of_row[name] for of_row in by_row]
                self.ranges[name] = min(values), max(values)

    def category(self, name: str, value: Any) -> int:
        if value is None or value != value:
            return 2
        return 3 + self.known[name].index(value) if value in self.known[name] else 1

    def history(self, sequence: str, target: str, row: Row) -> list[int]:
        if sequence in self.columns.shared:
            return [self.category(target, word) for word in words_of(row, sequence)]
        known, tokens = self.known[sequence], map(int, words_of(row, sequence))
        return [2 + known.index(token) if token in known else 1 for token in tokens]

    def context(self, row: Row, histories: list[list[int]]) -> list[int]:
        context = [self.category(name, row[name]) for name in self.columns.context]
        context += [self.category(name, number(row, name)) for name in self.columns.ids]
        newest = [codes[-1] if codes else 0 for codes in histories]
        return context + newest * ("newest" in self.inputs.statistics)

    def scaled(self, row: Row) -> np.ndarray:
        values = {name: number(row, name) for name in self.columns.numeric}
        for sequence in self.columns.sequences:
            for name, value in statistics(row, sequence).items():
                if name.split()[0] in self.inputs.statistics:
                    values[name] = value
        low, high = np.array([self.ranges[name] for name in values]).T
        return np.nan_to_num((np.clip([*values.values()], low, high) - low) / (high - low))


def check_map(feature_map: FeatureMap, plain: Plain) -> None:
    """The map has the plain one's vocabularies and ranges; a shared one's order is its own."""
    for field in feature_map.targets:
        if sorted(field.vocabulary) == plain.known[field.column]:
            plain.known[field.column] = field.vocabulary
    fields = [*feature_map.profile, *feature_map.targets, *feature_map.context, *feature_map.ids]
    for each in (*fields, *(f for f in feature_map.sequences if not f.shared_with)):
        assert each.vocabulary == plain.known[each.column], each.column
    sizes = {field.column: field.size for field in feature_map.targets}
    for history in feature_map.sequences:
        assert history.shared_with is None or history.size == sizes[history.shared_with]
    # tests/features/test_similarities.py has those.
    here = [f for f in feature_map.statistics if statistic_of(f.column) != "similarities"]
    for scale in (*feature_map.numeric, *here):
        assert (scale.minimum, scale.maximum) == pytest.approx(plain.ranges[scale.column], abs=1e-6)


def check_batch(batch: Batch, of_file: list[Row], plain: Plain, max_len: int) -> None:
    rows = [of_file[index] for index in batch.row_B.tolist()]
    columns, offsets = plain.columns, batch.offsets.tolist()
    pairs = list(zip(columns.sequences, columns.targets))
    most = 0 if plain.inputs.whole_histories else max_len
    assert batch.label_B is not None
    assert batch.numbers["minmax"].dtype == batch.label_B.dtype == torch.float32
    assert batch.label_B.tolist() == [row["y"] for row in rows]
    for codes, names in ((batch.profile_BP, columns.profile), (batch.target_BG, columns.targets)):
        expected = [[plain.category(name, row[name]) for name in names] for row in rows]
        assert codes.tolist() == expected
    np.testing.assert_allclose(batch.numbers["minmax"], [*map(plain.scaled, rows)], atol=1e-5)
    assert batch.history_ST.shape == (len(pairs), offsets[-1])
    for i, row in enumerate(rows):
        histories = [plain.history(*pair, row) for pair in pairs]
        kept = batch.history_ST[:, offsets[i] : offsets[i + 1]].tolist()
        assert kept == [codes[-most:] for codes in histories]
        start, target = batch.layout.start_B[i : i + 2].tolist()
        at_positions = batch.layout.event_V[batch.layout.slot_N[start : target - 1]]
        assert batch.history_ST[:, at_positions].tolist() == [c[-max_len:] for c in histories]
        assert batch.context_BC[i].tolist() == plain.context(row, histories)


@pytest.mark.parametrize(
    ("roles", "inputs", "least", "max_len"),
    [
        ({}, Inputs(whole_histories=True), 3, 20),
        ({"ids": ("few", "age")}, Inputs(statistics=("newest",)), 2, 1_000),
        (TWO, Inputs(statistics=("entropy", "newest")), 8, 1),
        (TWO | {"shared": ("events",)}, Inputs(statistics=CODE_STATISTICS), 1, 3),
        ({"shared": ("events",)}, Inputs(statistics=("length", "newest")), 12, 7),
        ({"shared": ("texts",), "sequences": ("texts",)}, Inputs(statistics=STATISTICS), 1, 7),
        ({"shared": ("texts",), "sequences": ("texts",)}, Inputs(), 90, 7),
    ],
)
def test_what_models_see_of_a_table_is_a_plain_encoding(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: pa.Table,
    roles: dict[str, Any],
    inputs: Inputs,
    least: int,
    max_len: int,
) -> None:
    monkeypatch.setattr(batches, "WINDOW_ROWS", 70)
    monkeypatch.setattr(batches, "BLOCK_ROWS", 17)
    columns = with_roles(**{"numeric": ("price", "age", "few"), "context": ("shop",)} | roles)
    rows = table.to_pylist()
    h5 = to_train_h5(tmp_path, table, columns=columns, valid_rows=range(TRAIN_ROWS, ROWS))
    fields = fit_feature_map(h5[0], columns, least)
    assert FeatureMap.from_dict(json.loads(json.dumps(fields.to_dict()))) == fields
    plain = Plain(rows[:TRAIN_ROWS], columns, inputs, least)
    check_map(fields, plain)
    train, valid = (
        BatchSource(path, fields, max_len=max_len, batch_rows=64, inputs=inputs) for path in h5
    )
    for batch in train.shuffled(seed=3, epoch=0):
        check_batch(batch, rows[:TRAIN_ROWS], plain, max_len)
    for batch in valid.in_order():
        check_batch(batch, rows[TRAIN_ROWS:], plain, max_len)
    # Blank histories have the statistics of empty ones.
    batch = next(valid.in_order(ablate_histories=True))
    assert (batch.numbers["minmax"][:, 3:] == 0).all()
    newest = "newest" in inputs.statistics
    assert (batch.context_BC[:, -len(columns.sequences) :] == 0).all() or not newest


def test_a_target_is_counted_and_found_from_the_newest_event_on() -> None:
    histories, target = ragged([[4, 7, 4, 2], [7], [], [5, 5]]), np.array([4, 3, 4, -1])
    statistics = history_statistics(histories, target)
    assert statistics[:, 3:].tolist() == [[2, 1 / 2], [0, 0], [0, 0], [0, 0]]


def fitted(folder: Path, table: pa.Table, columns: Columns = COLUMNS) -> FeatureMap:
    """The feature map of all rows but the first two, which are validation."""
    train, _ = to_train_h5(folder, table, columns=columns, valid_rows=(0, 1))
    return fit_feature_map(train, columns, 1)


def test_ids_that_float32_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"column 'age'.* 16777218, .* above 16,777,216"):
        fitted(tmp_path, raw_table(40, age=[2**24 + 2] * 40), with_roles(ids=("age",)))


def test_columns_that_are_mostly_unseen_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fields = fitted(tmp_path, raw_table(60, item=["1.0"] * 60, events=["1,2"] * 60))
    for item, events, named in (("1.0", "1,2", []), ("1", "1.0,2.0", ["item", "events"])):
        caplog.clear()
        h5 = to_test_h5(tmp_path, raw_table(20, item=[item] * 20, events=[events] * 20))
        with H5Table(h5) as table:
            FeatureEncoder(fields, table).warn_of_unknown_values(table)
        assert [message.split("'")[1] for message in caplog.messages] == named


def test_booleans_are_the_same_in_a_csv_of_pandas_and_elsewhere(tmp_path: Path) -> None:
    fields = fitted(tmp_path, raw_table(60, item=["True", "False"] * 30))
    indices = []
    for values in (["True", "False", "other"], ["true", "false", "other"], [True, False, None]):
        with H5Table(to_test_h5(tmp_path, raw_table(3, item=values))) as table:
            encoder = FeatureEncoder(fields, table)
            codes = encoder.categories(table.read(0, 3))[:, len(fields.profile)]
            indices.append(codes.tolist())
    assert indices[0] == indices[1]
    assert indices[0][:2] == indices[2][:2]
    assert len({*indices[0], *indices[2]}) == 4
