"""The facts of the data against plain pandas and scikit-learn, and the alarms of each fault."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from support.facts import facts_of
from support.raw_tables import raw_table, split_events, with_columns, with_roles
from tossctr.describe import facts
from tossctr.describe.checks import find_alarms
from tossctr.describe.drift import adversarial_auc, column_auc, stability_index


@pytest.fixture
def no_adversary(monkeypatch: pytest.MonkeyPatch) -> None:
    """No alarm rests on it, and it takes long."""
    monkeypatch.setattr(facts, "adversarial_auc", lambda *_: None)


TIMES = {"event_time": "when", "row_time": "now"}


def timed(table: pa.Table, limit: int, order: Callable[..., np.ndarray]) -> pa.Table:
    """With random times of events below a limit, in an order, of rows at 100."""
    random = np.random.default_rng(len(table))
    lengths = [len(split_events(row)) for row in table["events"].to_pylist()]
    when = [",".join(map(str, order(random.integers(0, limit, n)))) for n in lengths]
    table = table.append_column("when", pa.array(when))
    return table.append_column("now", pa.array([100] * len(table)))


@pytest.mark.usefixtures("no_adversary")
def test_what_is_counted_is_what_pandas_counts(tmp_path: Path) -> None:
    new = {"item": [f"item {i % 12}" for i in range(90)], "age": [*range(89), None]}
    tables = raw_table(600, 3, longest=40), raw_table(90, 4, **new)
    raw, test = (timed(table, 120, np.copy) for table in tables)
    valid_rows = [*range(5, 600, 7)]
    columns = with_roles(ids=("age",), **TIMES)
    facts = facts_of(tmp_path, raw, test, columns, valid_rows=valid_rows)
    frame, of_test = raw.to_pandas(), test.to_pandas()
    train, valid = frame.drop(index=valid_rows), frame.loc[valid_rows]
    parts = {"train": train, "valid": valid, "test": of_test}

    def of_parts(name: str, function: Any) -> dict[str, Any]:
        return {part: function(rows[name]) for part, rows in parts.items()}

    assert facts["sampled_rows"] == facts["rows"] == of_parts("y", len)
    assert facts["clicks"] == {"train": train["y"].sum(), "valid": valid["y"].sum()}
    described = {entry["column"]: entry for entry in facts["columns"]}
    for name in ("price", "age", "country", "item"):
        missing = {part: described[name][f"missing_{part}"] for part in parts}
        assert missing == pytest.approx(of_parts(name, lambda values: values.isna().mean())), name
    for name in ("price", "age"):
        known, new = (of[name][np.isfinite(of[name])] for of in (train, of_test))
        low, high = known.min(), known.max()
        assert [described[name]["low"], described[name]["high"]] == [low, high]
        assert described[name]["test_outside"] == pytest.approx((~new.between(low, high)).mean())
    for name in ("age", "item"):
        is_new = of_test[name].notna() & ~of_test[name].isin(train[name])
        assert described[name]["unseen_test"] == pytest.approx(is_new.mean())
    for rows in parts.values():
        rows["length"] = rows["events"].fillna("").map(split_events).map(len)
    (sequence,) = facts["sequences"]
    assert sequence["none"] == pytest.approx(of_parts("length", lambda of: (of == 0).mean()))
    assert sequence["mean"] == pytest.approx(of_parts("length", lambda of: of.mean()))
    assert sequence["longest"] == of_parts("length", max)
    for part, rows in parts.items():
        times = [*map(split_events, rows["when"])]
        later, step = np.concatenate(times) > 100, np.concatenate([*map(np.diff, times)])
        assert facts["later_events"][part] == later.mean()
        assert facts["backward_steps"][part] == (step < 0).sum() / (step != 0).sum()

    by_position, *panels = facts["click_rates"]
    clicks = frame["y"].groupby(np.arange(600) * 20 // 600).sum()
    assert [v["clicks"] for v in by_position["values"]] == clicks.tolist()
    assert [panel["column"] for panel in panels] == ["country", "item"]
    for panel in panels:
        known, new_rows = (each[panel["column"]].fillna("(none)") for each in (frame, of_test))
        counts = {"rows": known.value_counts(), "test_rows": new_rows.value_counts()}
        expected = pd.DataFrame(counts | {"clicks": frame["y"].groupby(known).sum()}).fillna(0)
        shown = pd.DataFrame(panel["values"]).fillna("(none)").set_index("value")
        assert shown.to_dict() == expected.to_dict()


def test_rows_that_are_met_again_are_counted_in_all_rows_and_others_in_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "SAMPLE_ROWS", 150)
    base = with_columns(raw_table(300, 5), country=[f"{i % 24:02}" for i in range(300)])
    events = [f"{i // 3},7,7,7,{i}" if i % 3 else f"{i},1,1,1,1" for i in range(300)]
    events[10:40] = ["9,8,7,6,5"] * 30
    table = with_columns(base, events=events)
    test = with_columns(base, events=["9,8,7,6,5"] * 60 + ["5,6,7,8,9"] * 240)
    content = facts_of(tmp_path, table, test, valid_rows=list(range(25, 75)))
    assert content["rows"] == {"train": 250, "valid": 50, "test": 300}
    assert content["sampled_rows"] == {"train": 125, "valid": 50, "test": 150}
    assert sum(content["clicks"].values()) == sum(table["y"].to_pylist())
    (sequence,) = content["sequences"]
    assert sequence["twice_in_train"] == pytest.approx(15 / 250)
    assert sequence["in_train"] == {"valid": 15 / 50, "test": 60 / 300}
    # Rows of the test that are equal in all else, and have the same events.
    assert content["same_rows"]["test_in_known"] == pytest.approx(30 / 300)
    assert content["same_rows"]["valid_in_train"] == 0
    (hours,) = (each["values"] for each in content["click_rates"] if each["column"] == "country")
    assert [each["value"] for each in hours] == [f"{hour:02}" for hour in range(24)]
    assert not content["adversary"]["valid"]["is_significant"]
    assert next(iter(content["adversary"]["test"]["columns"])) == "newest of events"


@pytest.mark.usefixtures("no_adversary")
@pytest.mark.parametrize(("by", "column"), [(None, ""), ("time", "period"), ("group", "fold")])
def test_facts_name_what_the_rows_are_split_by(tmp_path: Path, by: str | None, column: str) -> None:
    marks = {column: np.arange(200) // 100} if column else {}
    assert facts_of(tmp_path, raw_table(200), None, **marks)["split_by"] == by


@pytest.mark.usefixtures("no_adversary")
def test_of_many_rows_some_keys_are_kept_with_the_same_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "MAX_KEYS", 500)
    # Each sequence comes twice in train; a quarter of the test has one of them.
    events = [f"{i // 2},3,{i // 2 % 7},1,1" for i in range(2_000)]
    other = [events[i] if i % 4 == 0 else f"9,9,9,9,{i}" for i in range(2_000)]
    tables = raw_table(2_000, events=events), raw_table(2_000, 1, events=other)
    content = facts_of(tmp_path, *tables, valid_rows=[0, 1])
    (sequence,) = content["sequences"]
    assert sequence["twice_in_train"] == 1
    assert sequence["in_train"]["test"] == pytest.approx(1 / 4, abs=0.06)


def test_the_stability_index_is_that_of_deciles_and_of_categories() -> None:
    def index(a: np.ndarray, b: np.ndarray) -> float:
        """From the rows by level, half a row added to each."""
        a, b = ((side + 0.5) / (side + 0.5).sum() for side in (a, b))
        return float(((a - b) * np.log(a / b)).sum())

    random = np.random.default_rng(0)
    train, other = random.normal(size=9_000), random.normal(0.5, 2, 4_000)
    edges = [-np.inf, *np.quantile(train, np.arange(1, 10) / 10), np.inf]
    rows = [np.histogram(values, edges)[0] for values in (train, other)]
    assert stability_index(train, other, False) == pytest.approx(index(*rows), rel=0.02)
    # Missing and new values are levels of their own.
    category = random.integers(0, 4, 9_000).astype(float)
    strange = np.where(np.arange(9_000) < 900, np.nan, np.where(category == 3, 77, category))
    levels = np.array([0, 1, 2, 3, 77])[:, None]
    rows = [np.append((v == levels).sum(1), np.isnan(v).sum()) for v in (category, strange)]
    assert stability_index(category, strange, True) == pytest.approx(index(*rows), rel=1e-6)


def test_a_column_alone_has_its_auc_in_order_or_by_click_rates() -> None:
    random = np.random.default_rng(0)
    values, words = random.normal(size=20_000), random.integers(0, 50, 20_000)
    label = (values + random.normal(0, 2, 20_000) > 2).astype(np.uint8)
    auc = pytest.approx(roc_auc_score(label, values), abs=0.003)
    assert [column_auc(each, label, False) for each in (values, -values)] == [auc, auc]
    # Clicks in the middle, of categories without an order, and where the value is missing.
    assert column_auc(values, (np.abs(values) < 0.1).astype(int), False) > 0.98
    assert column_auc(words, label, True) == pytest.approx(0.5, abs=0.02)
    assert column_auc(words, np.isin(words, [3, 17, 40]).astype(int), True) == pytest.approx(1)
    assert column_auc(np.where(label, np.nan, values), label, False) == 1
    assert column_auc(values, 0 * label, False) is None


def test_boosting_names_the_columns_that_give_a_table_away() -> None:
    train, other, same = (
        pd.DataFrame(values, columns=list("abcd")).assign(empty=np.nan)
        for values in np.random.default_rng(0).normal(size=(3, 3_000, 4))
    )
    other["c"] += 2
    other.loc[::5, "b"] = np.nan
    result, alike = adversarial_auc(train, other), adversarial_auc(train, same)
    # Two normal distributions two deviations apart have an AUC of 0.921.
    assert result["auc"] > 0.91
    assert [*result["columns"]][:2] == ["c", "b"]
    assert alike["columns"] == {}
    assert adversarial_auc(train[:9], other) is None


def test_ids_that_are_new_in_every_table_betray_no_table(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    train, test = (
        with_columns(
            raw_table(2_000, seed), item=[f"i{n}" for n in random.integers(0, 10**6, 2_000)]
        )
        for seed in (5, 6)
    )
    content = facts_of(tmp_path, train, test, valid_rows=list(range(0, 2_000, 10)))
    assert not content["adversary"]["test"]["is_significant"]
    new = next(column for column in content["columns"] if column["column"] == "item")
    assert min(new["unseen_valid"], new["unseen_test"]) > 0.9
    assert not [alarm for alarm in find_alarms(content) if "item" in alarm.text]


ROWS = 2_000
TRAIN, TEST = raw_table(ROWS, 1), raw_table(ROWS, 2)
CLICKS = TRAIN["y"].to_numpy()
SMALL = np.append(1e-6, np.random.default_rng(0).lognormal(size=ROWS - 1))
# The newest event tells of a click.
EVENTS = [f"{e or 3},{333 if y else 5}" for e, y in zip(TRAIN["events"].to_pylist(), CLICKS)]
SECONDS = 1.7e9 + 60 * np.arange(ROWS)
SIXTHS = [int(i % 6 == 0) for i in range(ROWS)]
LEAKS = {"price": CLICKS + SMALL / SMALL.max(), "events": EVENTS, "age": SECONDS}
OTHER = {
    "price": SMALL[::-1] / 60,
    "unused": 100 * TEST["unused"].to_numpy(),
    "age": pa.nulls(ROWS, pa.int16()),
    "item": [f"item {i % 12}" for i in range(ROWS)],
    "events": ["5,9001"] * ROWS,
}


@pytest.mark.usefixtures("no_adversary")
@pytest.mark.parametrize(
    ("train", "test", "texts"),
    [
        (
            with_columns(TRAIN, **LEAKS),
            with_columns(TRAIN, **LEAKS),
            [
                "Column price (also newest of events) predicts",
                "Column age has values from 1700000000 to 1700119936, which float32 rounds",
                "100% of the test rows equal a row of the train file",
            ],
        ),
        (
            with_columns(TRAIN, y=SIXTHS),
            TRAIN[700:1000],
            ["test rows equal a row of the train file", "validation rows have 84 clicks"],
        ),
        (
            with_columns(TRAIN, price=SMALL),
            with_columns(TEST, **OTHER),
            [
                "Column age is missing in 100%",
                "Column unused has 97% of its test values",
                "Column price has test values 0.0",
                "Column item has out-of-vocabulary categories in 25% of the test rows",
                "Column events has out-of-vocabulary codes in 50% of the test events",
            ],
        ),
        (
            timed(TRAIN, 120, lambda times: -np.sort(-times)),
            timed(TEST, 120, lambda times: -np.sort(-times)),
            ["later than their row", "newest first"],
        ),
        (timed(TRAIN, 100, np.sort), timed(TEST, 100, np.sort), []),
    ],
    ids=["leaks", "part of train", "other units and codes", "times", "healthy"],
)
def test_faults_give_their_alarms_and_no_other(
    train: pa.Table, test: pa.Table, texts: list[str], tmp_path: Path
) -> None:
    times = TIMES if "when" in train.column_names else {}
    columns = with_roles(numeric=("price", "age", "unused"), **times)
    alarms = find_alarms(facts_of(tmp_path, train, test, columns))
    for alarm, text in zip(alarms, texts, strict=True):
        assert text in alarm.text
