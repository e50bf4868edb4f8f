"""The facts of the data against plain pandas and scikit-learn, and the alarms of each fault."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from support.facts import column, facts_of
from support.raw_tables import raw_table, split_events, with_columns, with_roles
from tossctr.describe import facts
from tossctr.describe.checks import alarms_of
from tossctr.describe.drift import adversary, auc_alone, stability_index


@pytest.fixture
def no_adversary(monkeypatch: pytest.MonkeyPatch) -> None:
    """No alarm rests on it, and it takes long."""
    monkeypatch.setattr(facts, "adversary", lambda *_: None)


def test_what_is_counted_is_what_pandas_counts(tmp_path: Path) -> None:
    raw, test, valid_rows = raw_table(600, 3, longest=40), raw_table(90, 4), [*range(5, 600, 7)]
    facts = facts_of(tmp_path, raw, test, valid_rows=valid_rows)
    frame = raw.to_pandas()
    train, valid = frame.drop(index=valid_rows), frame.loc[valid_rows]
    parts = {"train": train, "valid": valid, "test": test.to_pandas()}

    def of_parts(name: str, function: Any) -> dict[str, Any]:
        return {part: function(rows[name]) for part, rows in parts.items()}

    assert facts["sampled_rows"] == facts["rows"] == of_parts("y", len)
    assert facts["clicks"] == {"train": train["y"].sum(), "valid": valid["y"].sum()}
    for name in ("price", "age", "country", "item"):
        missing = {part: column(facts, name)[f"missing_{part}"] for part in parts}
        assert missing == pytest.approx(of_parts(name, lambda values: values.isna().mean())), name
    age = column(facts, "age")
    outside = ~parts["test"]["age"].dropna().between(age["low"], age["high"])
    assert [age["low"], age["high"]] == [train["age"].min(), train["age"].max()]
    assert age["test_outside"] == pytest.approx(outside.mean())
    for rows in parts.values():
        rows["length"] = rows["events"].fillna("").map(split_events).map(len)
    (sequence,) = facts["sequences"]
    assert sequence["none"] == pytest.approx(of_parts("length", lambda of: (of == 0).mean()))
    assert sequence["mean"] == pytest.approx(of_parts("length", lambda of: of.mean()))
    assert sequence["longest"] == of_parts("length", max)

    places, *panels = facts["click_rates"]
    clicks = frame["y"].groupby(np.arange(600) * 20 // 600).sum()
    assert [v["clicks"] for v in places["values"]] == clicks.tolist()
    assert [panel["column"] for panel in panels] == ["country", "item"]
    for panel in panels:
        expected = frame.groupby(frame[panel["column"]].fillna("(missing)"))["y"]
        shown = pd.DataFrame(panel["values"]).fillna("(missing)").set_index("value")
        assert shown["rows"].to_dict() == expected.size().to_dict()
        assert shown["clicks"].to_dict() == expected.sum().to_dict()


def test_a_sample_is_at_equal_distances_and_what_is_met_again_is_of_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "SAMPLE_ROWS", 150)
    table = raw_table(600, 3)
    result = facts_of(tmp_path, table, table[:90], valid_rows=list(range(5, 600, 7)))
    assert result["sampled_rows"] == {"train": 129, "valid": 85, "test": 90}
    assert result["rows"]["train"] + result["rows"]["valid"] == 600
    assert sum(result["clicks"].values()) == sum(table["y"].to_pylist())
    assert result["same_rows"]["test_in_known"] == 1


def test_codes_of_a_numeric_column_that_are_new_in_the_test_are_counted(tmp_path: Path) -> None:
    columns = with_roles(ids=("age",))
    test = raw_table(90, age=[10.0] * 30 + [11.5] * 50 + [None] * 10)
    result = facts_of(tmp_path, raw_table(600, age=[10.0, 12.0] * 300), test, columns=columns)
    assert column(result, "age")["unseen_test"] == pytest.approx(50 / 90)
    (alarm,) = (each for each in alarms_of(result) if "have a category" in each.text)
    assert "56% of the test rows" in alarm.text


def test_without_a_test_table_the_other_facts_are_the_same(tmp_path: Path) -> None:
    def of_train(entry: Any) -> Any:
        """An entry without what it says of the test."""
        if isinstance(entry, dict):
            return {key: of_train(entry[key]) for key in entry if "test" not in key}
        return [*map(of_train, entry)] if isinstance(entry, list) else entry

    table = raw_table(300, 3)
    # A test of other words would join these to the panels of click rates.
    contents = [facts_of(tmp_path / str(i), table, test) for i, test in enumerate((table, None))]
    assert contents[1]["rows"]["test"] == 0
    of_test = [entry[key] for entry in contents[1]["columns"] for key in entry if "_test" in key]
    assert {*of_test} == {None}
    assert of_train(contents[1]) == of_train(contents[0])


def test_sequences_and_rows_that_are_met_again_are_counted(tmp_path: Path) -> None:
    base = raw_table(300, 5)
    events = [f"{i // 3},7,7,7,{i}" if i % 3 else f"{i},1,1,1,1" for i in range(300)]
    events[10:40] = ["9,8,7,6,5"] * 30
    table = with_columns(base, events=events)
    test = with_columns(base, events=["9,8,7,6,5"] * 60 + ["5,6,7,8,9"] * 240)
    content = facts_of(tmp_path, table, test, valid_rows=list(range(25, 75)))
    (sequence,) = content["sequences"]
    assert sequence["twice_in_train"] == pytest.approx(15 / 250)
    assert sequence["in_train"] == {"valid": 15 / 50, "test": 60 / 300}
    # Rows of the test that are equal in all else, and have the same events.
    assert content["same_rows"]["test_in_known"] == pytest.approx(30 / 300)
    assert content["same_rows"]["valid_in_train"] == 0


@pytest.mark.usefixtures("no_adversary")
def test_of_many_rows_some_keys_are_kept_with_the_same_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "KEYS", 1_000)
    # Each sequence comes twice in train; a quarter of the test has one of them.
    events = [f"{i // 2},3,{i // 2 % 7},1,1" for i in range(6_000)]
    other = [events[i] if i % 4 == 0 else f"9,9,9,9,{i}" for i in range(4_000)]
    tables = raw_table(6_000, events=events), raw_table(4_000, 1, events=other)
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
    values = random.normal(size=20_000)
    label = (values + random.normal(0, 2, 20_000) > 2).astype(np.uint8)
    for each in (values, -values, values.round()):
        auc = roc_auc_score(label, each)
        assert auc_alone(each, label, False) == pytest.approx(max(auc, 1 - auc), abs=0.003)
    # Clicks in the middle, of categories without an order, and where the value is missing.
    assert auc_alone(values, (np.abs(values) < 0.1).astype(int), False) > 0.98
    words = random.integers(0, 50, 20_000)
    assert auc_alone(words, label, True) == pytest.approx(0.5, abs=0.02)
    assert auc_alone(words, np.isin(words, [3, 17, 40]).astype(int), True) == pytest.approx(1)
    assert auc_alone(np.where(label, np.nan, values), label, False) == 1
    assert auc_alone(values, 0 * label, False) is None


def test_boosting_names_the_columns_that_give_a_table_away() -> None:
    random = np.random.default_rng(0)
    train, other, same = (
        pd.DataFrame(values, columns=list("abcd")).assign(empty=np.nan)
        for values in random.normal(size=(3, 3_000, 4))
    )
    other["c"] += 2
    other.loc[::5, "b"] = np.nan
    result, alike = adversary(train, other), adversary(train, same)
    assert result is not None
    assert alike is not None
    # Two normal distributions two deviations apart have an AUC of 0.921.
    assert result["auc"] > 0.91
    assert [*result["columns"]][:2] == ["c", "b"]
    assert alike["columns"] == {}
    assert adversary(train[:9], other) is None


ROWS = 2_000
TRAIN, TEST = raw_table(ROWS, 1), raw_table(ROWS, 2)
CLICKS = TRAIN["y"].to_numpy()
NORMAL = np.random.default_rng(0).normal(size=ROWS)
SMALL = np.append(1e-6, np.exp(NORMAL[1:]))
# The highest prices are those of the clicks.
PRICES = np.empty(ROWS)
PRICES[np.argsort(CLICKS, kind="stable")] = np.linspace(-3, 3, ROWS)
# The newest event tells of a click.
EVENTS = [f"{e or 3},{333 if y else 5}" for e, y in zip(TRAIN["events"].to_pylist(), CLICKS)]
SECONDS = {"age": 1.7e9 + 60 * np.arange(ROWS)}
TEST_AGES = [a and a * 100 for a in TEST["age"].to_pylist()]
SIXTHS = [int(i % 6 == 0) for i in range(ROWS)]
# The columns that are other ones in the train table and in the test table, or all of the latter,
# and what the alarm names.
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any] | pa.Table, str]] = {
    "a leak": ({"price": PRICES}, {}, "Column price: predicts"),
    "a leak in events": ({"events": EVENTS}, {}, "newest of events: predicts"),
    "test is train": ({}, TRAIN, "100% of the test rows are train rows"),
    "part of train": ({}, TRAIN[700:1000], "test rows are train rows"),
    "seconds since 1970": (
        *(SECONDS, SECONDS),
        "Column age: values between 1700000000 and 1700119936 are kept in steps of 128",
    ),
    "another unit": ({}, {"age": TEST_AGES}, "Column age: 100% of the test values"),
    "a smaller unit": (
        *({"price": SMALL}, {"price": SMALL[::-1] / 60}),
        "Column price: test values are 0.0",
    ),
    "missing in test": ({}, {"age": pa.nulls(ROWS, pa.int16())}, "Column age: missing in 100%"),
    "new categories": (
        *({}, {"item": [f"item {i % 12}" for i in range(ROWS)]}),
        "Column item: 25% of the test rows",
    ),
    "new codes": ({}, {"events": ["5,9001"] * ROWS}, "Column events: 50% of the test events"),
    "few clicks": ({"y": SIXTHS}, {}, "validation rows have 84 clicks"),
}


@pytest.mark.usefixtures("no_adversary")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_gives_its_alarm_and_no_other(fault: str, tmp_path: Path) -> None:
    train, test, text = FAULTS[fault]
    test_table = with_columns(TEST, **test) if isinstance(test, dict) else test
    (alarm,) = alarms_of(facts_of(tmp_path, with_columns(TRAIN, **train), test_table))
    assert text in alarm.text


def test_a_healthy_table_gives_no_alarm_but_of_few_validation_clicks(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, TRAIN, TEST)
    assert alarms_of(facts) == []
    infinite = [np.inf if i % 5 < 3 else p for i, p in enumerate(PRICES)]
    tables = (with_columns(table, price=infinite) for table in (TRAIN, TEST))
    assert alarms_of(facts_of(tmp_path / "infinite", *tables)) == []
    assert not any(results["is_significant"] for results in facts["adversary"].values())
    (alarm,) = alarms_of(facts | {"clicks": {"valid": 60}})
    assert "validation rows have 60 clicks" in alarm.text


@pytest.mark.usefixtures("no_adversary")
@pytest.mark.parametrize(
    ("limit", "newest_first", "text"),
    [(100, False, ""), (120, False, "later than their row"), (100, True, "newest first")],
)
def test_events_out_of_order_are_counted_and_many_give_an_alarm(
    limit: int, newest_first: bool, text: str, tmp_path: Path
) -> None:
    tables, shares = [], []
    for seed, table in enumerate((TRAIN, TEST)):
        lengths = [len(split_events(row)) for row in table["events"].to_pylist()]
        draw = np.random.default_rng(seed).integers(0, limit, sum(lengths))
        times = np.split(draw, np.cumsum(lengths)[:-1])
        when = [",".join(map(str, sorted(row, reverse=newest_first))) for row in times]
        table = table.append_column("when", pa.array(when))
        tables.append(table.append_column("now", pa.array([100] * ROWS)))
        shares.append(float((draw > 100).mean()))
    timed = with_roles(event_time="when", row_time="now")
    result = facts_of(tmp_path, *tables, columns=timed)
    later = result["later_events"]
    least, most = sorted((later["train"], later["valid"]))
    assert later["test"] == shares[1]
    assert (0 < least < shares[0] < most) if limit > 100 else (least == most == 0)
    assert {*result["backward_steps"].values()} == {int(newest_first)}
    alarms = [alarm.text for alarm in alarms_of(result)]
    assert len(alarms) == bool(text)
    assert all(text in alarm for alarm in alarms)
