"""Vocabularies and ranges, fitted on train alone, and what they make of raw values."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feseq.common.errors import UserError
from feseq.dataset import encoding, fitting
from feseq.dataset.encoding import FeatureEncoder
from feseq.dataset.feature_map import (
    MISSING,
    OUT_OF_VOCABULARY,
    FeatureMap,
    SequenceField,
    check_one_draw,
)
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.store import H5Table
from support.raw_tables import COLUMNS, raw_table, split_events, to_test_h5, to_train_h5, with_roles

NAN, INF = float("nan"), float("inf")


def ranges(fields: FeatureMap) -> list[tuple[str, float, float]]:
    return [(field.column, field.minimum, field.maximum) for field in fields.numeric]


def fitted(folder: Path, table: pa.Table, min_count: int = 1, **options: Any) -> FeatureMap:
    """The feature map of all rows but the last two, which are validation."""
    valid_rows = range(len(table) - 2, len(table))
    train, _ = to_train_h5(folder, table, valid_rows=valid_rows, **options)
    return fit_feature_map(train, options.get("columns", COLUMNS), min_count)


def encoded(h5: Path, fields: FeatureMap) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Numeric, profile, target and sequence indices of all rows."""
    with H5Table(h5) as table:
        encoder = FeatureEncoder(fields, table)
        block = table.read(0, table.rows)
        rows = encoder.encode(block, np.arange(table.rows))
        tokens = encoder.sequences[0](block.sequences[fields.sequences[0].column].values)
    return rows.numbers["minmax"], rows.profile, rows.target, tokens.tolist()


@pytest.mark.parametrize("min_count", [1, 2, 3, 8])
def test_vocabularies_hold_what_train_has_often_enough(tmp_path: Path, min_count: int) -> None:
    items = [f"item {i}" for i in np.random.default_rng(4).geometric(0.2, 150)]
    countries = ["KR"] * 139 + ["US", "US", "US", None, None, "日本", "日本", "", "AT"] + ["XX"] * 2
    table = raw_table(150, item=items, country=countries)
    fields = fitted(tmp_path, table, min_count)
    train = table[:-2].to_pylist()
    tokens = Counter(token for row in train for token in split_events(row["events"]))
    assert fields.sequences[0].vocabulary == sorted(t for t in tokens if tokens[t] >= min_count)
    for field in (*fields.profile, *fields.targets):
        words = Counter(row[field.column] for row in train if row[field.column] is not None)
        assert field.vocabulary == sorted(w for w in words if words[w] >= min_count)
    assert fields.min_count == min_count


def test_values_of_the_validation_rows_teach_nothing(tmp_path: Path) -> None:
    rows = 20
    table = raw_table(
        rows,
        country=["KR"] * (rows - 2) + ["XX"] * 2,
        item=["a"] * (rows - 2) + ["b"] * 2,
        events=["1,2"] * (rows - 2) + ["9,9,9", "9"],
        price=[0.25, 0.75] * (rows // 2 - 1) + [-50.0, 50.0],
        age=[30, 40] * (rows // 2 - 1) + [1, 99],
    )
    fields = fitted(tmp_path, table)
    assert fields.profile[0].vocabulary == ["KR"]
    assert fields.targets[0].vocabulary == ["a"]
    assert fields.sequences[0].vocabulary == [1, 2]
    assert ranges(fields) == [("price", 0.25, 0.75), ("age", 30, 40)]
    numeric, profile, target, tokens = encoded(tmp_path / "valid.h5", fields)
    assert profile.tolist() == target.tolist() == [[OUT_OF_VOCABULARY]] * 2
    assert tokens == [OUT_OF_VOCABULARY] * 4
    assert numeric.tolist() == [[0, 0], [1, 1]]


TOKENS = st.lists(st.integers(0, 60) | st.integers(0, 10**18 - 1), min_size=1, max_size=40)


@given(seen=TOKENS, asked=TOKENS, limit=st.integers(1, 80), min_count=st.integers(1, 3))
def test_tokens_are_counted_and_looked_up_alike_below_and_above_the_dense_limit(
    seen: list[int], asked: list[int], limit: int, min_count: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "DENSE_LIMIT", limit)
        patch.setattr(encoding, "DENSE_LIMIT", limit)
        counts = fitting.TokenCounts()
        for part in np.array_split(np.array(seen, np.uint64), 3):
            counts.add(part)
        vocabulary = counts.at_least(min_count)
        lookup = encoding.TokenLookup(SequenceField("events", vocabulary))
        found = lookup(np.array(asked + seen, np.uint64)).tolist()
    assert vocabulary == sorted(t for t, count in Counter(seen).items() if count >= min_count)
    index = {token: i for i, token in enumerate(vocabulary, 2)}
    assert found == [index.get(token, OUT_OF_VOCABULARY) for token in asked + seen]


SHARED = with_roles(shared=("events",))
# '07', '4 ' and 'x' look like no token, and '٣' only to Python; the two last are far from small.
ITEMS = ["0", "3", "7", "07", "12", "4 ", "x", "٣", "", None, "3000000", str(10**30)]


# Events of integers, as text; and of any text, as lists, where '5' and 'y' are no items.
EVENTS = {
    "integers": ["0", "3", "7", "12", "5", "40", "3000000", "7000000"],
    "texts": ["x", "3", "4 ", str(10**30), "5", "٣", "y", "7000000"],
}


def shop_of(kind: str, rows: int = 300) -> pa.Table:
    """Items and events of which some are the same, each more or less often."""
    random = np.random.default_rng(6)
    places = np.minimum(random.geometric(0.2, rows) - 1, len(ITEMS) - 1)
    lengths = random.integers(0, 4, rows)
    picked = [
        [EVENTS[kind][i] for i in np.minimum(random.geometric(0.3, n) - 1, 7)] for n in lengths
    ]
    events = [",".join(some) for some in picked] if kind == "integers" else picked
    return raw_table(rows, events=events, item=[ITEMS[i] for i in places])


@pytest.mark.parametrize("min_count", [1, 12, 90])
@pytest.mark.parametrize("limit", [1, 6, 1 << 21])
@pytest.mark.parametrize("kind", EVENTS)
def test_a_shared_vocabulary_counts_both_columns_and_has_one_index_for_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, min_count: int, limit: int, kind: str
) -> None:
    monkeypatch.setattr(fitting, "DENSE_LIMIT", limit)
    monkeypatch.setattr(encoding, "DENSE_LIMIT", limit)
    table = shop_of(kind)
    fields = fitted(tmp_path, table, min_count, columns=SHARED)
    counts: Counter[str] = Counter()
    for row in table[:-2].to_pylist():
        counts.update([row["item"]] if row["item"] is not None else [])
        events = row["events"]
        counts.update(events if isinstance(events, list) else events.split(",") if events else [])
    (item,), (history,) = fields.targets, fields.sequences
    assert sorted(item.vocabulary) == sorted(w for w, n in counts.items() if n >= min_count)
    assert (history.shared_with, history.size) == ("item", item.size)
    assert fields.profile == fitted(tmp_path, table, min_count).profile
    assert FeatureMap.from_dict(json.loads(json.dumps(fields.to_dict()))) == fields

    # Every item once as target and, where it can be one, as token.
    words = ["999", *ITEMS[::-1], "5", "40", "7000000", "8000000"]
    words += ["y"] * (kind == "texts")
    tokens = [w for w in words if w in {"0", "3", "7", "12", "999", "3000000"} | set(words[-4:])]
    asked: Any = ",".join(tokens)
    if kind == "texts":
        asked = tokens = [w for w in words if w not in (None, "", "07")]
    one_each = raw_table(len(words), item=words, events=[asked] * len(words))
    _, _, target, found = encoded(to_test_h5(tmp_path, one_each), fields)
    index = dict(zip(words, target[:, 0].tolist()))
    assert found[: len(tokens)] == [index[token] for token in tokens]
    known = [i for i in index.values() if i >= 3]
    assert sorted(known) == list(range(3, item.size))
    assert index[None] == MISSING
    assert index["999"] == index["8000000"] == OUT_OF_VOCABULARY


@pytest.mark.parametrize(("item", "warned"), [("012", True), ("12", False), ("a", False)])
def test_a_target_none_of_whose_items_is_an_event_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, item: str, warned: bool
) -> None:
    events = ["12" if item != "a" else "a,b"] * 40
    with caplog.at_level("WARNING", logger="feseq.dataset.feature_map"):
        fitted(tmp_path, raw_table(40, item=[item] * 40, events=events), 1, columns=SHARED)
    assert bool(caplog.records) == warned


def test_a_feature_map_survives_json_exactly(tmp_path: Path) -> None:
    price = np.random.default_rng(1).normal(size=60).astype(np.float32) * np.float32(1e-20)
    fields = fitted(tmp_path, raw_table(60, price=price))
    path = tmp_path / "feature_map.json"
    fields.write(path)
    assert FeatureMap.read(path) == fields
    # What another version knows besides is not looked at.
    plain = json.loads(path.read_text())
    plain["numeric"] = [{"skewness": 1.0, **field} for field in plain["numeric"]]
    assert FeatureMap.from_dict({**plain, "author": "x"}) == fields
    assert "日本" in path.read_text(encoding="utf-8")
    assert fields.numeric[0].minimum == price[:-2].min()


@pytest.mark.parametrize(
    ("role", "lacking"),
    [
        ({"profile": ()}, "country"),
        ({"numeric": ("price",)}, "age"),
        ({"sequences": ("visits",)}, "events"),
    ],
)
def test_a_table_that_lacks_a_column_is_refused(
    tmp_path: Path, role: dict[str, Any], lacking: str
) -> None:
    table = raw_table(30, visits=["1"] * 30)
    fields = fitted(tmp_path, table)
    h5 = to_test_h5(tmp_path, table, columns=with_roles(**role))
    with H5Table(h5) as test, pytest.raises(UserError, match=f"'{lacking}'"):
        FeatureEncoder(fields, test)
    with pytest.raises(UserError, match=f"'{lacking}'"):
        fit_feature_map(h5, COLUMNS, 1)


def test_test_rows_teach_nothing(tmp_path: Path) -> None:
    test = to_test_h5(tmp_path, raw_table())
    with pytest.raises(UserError, match=r"test\.h5"):
        fit_feature_map(test, COLUMNS, 1)


def test_files_of_another_size_are_refused(tmp_path: Path) -> None:
    paths = to_train_h5(tmp_path, raw_table(), size="toy")
    feature_map = fit_feature_map(paths[0], COLUMNS, 1)
    with H5Table(paths[0]) as train, H5Table(paths[1]) as valid:
        for known in ("", "toy/len5"):
            check_one_draw(feature_map, train, valid, known)
        with pytest.raises(UserError, match=r"train\.h5.* toy.* full"):
            check_one_draw(feature_map, train, valid, "full/len5")


def test_a_column_that_is_mostly_unseen_is_said_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fields = fitted(tmp_path, raw_table(60, item=["1.0"] * 60))
    for item, warnings in (("1.0", 0), ("1", 1)):
        caplog.clear()
        with H5Table(to_test_h5(tmp_path, raw_table(20, item=[item] * 20))) as table:
            FeatureEncoder(fields, table).warn_of_unseen(table)
        assert len(caplog.records) == warnings
    assert "column 'item': 100 % of the rows" in caplog.text
    assert "such as '1', but not such as '1.0'" in caplog.text
    for events, warnings in (("1,2", 0), ("1.0,2.0", 1)):
        fields = fitted(tmp_path, raw_table(60, events=["1,2,3"] * 60))
        caplog.clear()
        with H5Table(to_test_h5(tmp_path, raw_table(20, events=[events] * 20))) as table:
            FeatureEncoder(fields, table).warn_of_unseen(table)
        assert len(caplog.records) == warnings
    assert "column 'events': 100 % of the events" in caplog.text


def test_a_feature_map_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "feature_map.json"
    fitted(tmp_path, raw_table(20)).write(path)
    half = path.read_text()[: path.stat().st_size // 2]
    for content in ("[]", "{}", '{"profile": [{"column": 1}]}', half):
        path.write_text(content)
        with pytest.raises(UserError, match=r"feature_map\.json"):
            FeatureMap.read(path)
