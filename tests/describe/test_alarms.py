"""Each planted fault gives its alarm, and a healthy table gives none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feseq.describe.checks import alarms_of
from support.facts import facts_of, plain_facts, with_column
from support.raw_tables import raw_table

ROWS = 2_000


def healthy() -> tuple[pa.Table, pa.Table]:
    return raw_table(ROWS, 1), raw_table(ROWS, 2)


def leak(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The highest prices are those of the clicks."""
    prices = np.empty(ROWS)
    prices[np.argsort(train["y"].to_numpy(), kind="stable")] = np.linspace(-3, 3, ROWS)
    return with_column(train, "price", prices), test


def leak_of_a_category(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Even items are those of the clicks."""
    clicks = enumerate(train["y"].to_pylist())
    return with_column(train, "item", [f"item {2 * (i % 5) + 1 - y}" for i, y in clicks]), test


def leak_by_what_is_missing(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    prices = np.random.default_rng(0).normal(size=ROWS)
    return with_column(train, "price", pa.array(prices, mask=train["y"].to_numpy() == 1)), test


def leak_in_the_newest_event(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    pairs = zip(train["events"].to_pylist(), train["y"].to_pylist())
    events = [f"{text or 3},{333 if y else 5}" for text, y in pairs]
    return with_column(train, "events", events), test


def test_is_train(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    return train, train


test_is_train.__test__ = False  # type: ignore[attr-defined]


def part_of_train(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    return train, train.slice(700, 300)


def another_unit(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    return train, with_column(test, "age", [a and a * 100 for a in test["age"].to_pylist()])


def a_smaller_unit(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    prices = np.append(1e-6, np.random.default_rng(0).lognormal(size=ROWS - 1))
    return with_column(train, "price", prices), with_column(test, "price", prices[::-1] / 60)


def missing_in_test(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    return train, with_column(test, "age", pa.nulls(ROWS, pa.int16()))


def new_categories(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    return train, with_column(test, "item", [f"item {i % 12}" for i in range(ROWS)])


def new_codes(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    return train, with_column(test, "events", ["5,9001"] * ROWS)


def an_outlier(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    ages = [None if i % 9 == 0 else float(20 + i % 50) for i in range(ROWS)]
    return with_column(train, "age", [*ages[:-1], 1e9]), with_column(test, "age", ages)


def few_clicks(train: pa.Table, test: pa.Table) -> tuple[pa.Table, pa.Table]:
    return with_column(train, "y", [int(i % 6 == 0) for i in range(ROWS)]), test


FAULTS: dict[str, tuple[Callable[..., tuple[pa.Table, pa.Table]], str, str]] = {
    "a leak": (leak, "Column price alone predicts the clicks", "only after the click"),
    "a leak of a category": (leak_of_a_category, "Column item alone predicts", "columns.groups"),
    "a leak by what is missing": (leak_by_what_is_missing, "Column price alone", "columns.groups"),
    "a leak in events": (leak_in_the_newest_event, "Column newest of events alone", "columns"),
    "test is train": (test_is_train, "100% of the test rows are train rows", "raw.test"),
    "part of train": (part_of_train, "test rows are train rows", "raw.test"),
    "another unit": (another_unit, "Column age: 100% of the test values lie outside", "unit"),
    "a smaller unit": (a_smaller_unit, "Column price: test values are 0.0", "one unit"),
    "missing in test": (
        missing_in_test,
        "Column age is missing in most test rows: 100%",
        "columns.groups",
    ),
    "new categories": (new_categories, "Column item: 25% of the test rows have a", "coded alike"),
    "new codes": (new_codes, "Column events: 50% of the test events", "sizes.full.min_count"),
    "an outlier": (an_outlier, "Column age: outliers leave no spread", "scaling: quantile"),
    "few clicks": (few_clicks, "The 500 validation rows have 84 clicks", "sampling.valid_share"),
}


def test_a_healthy_table_gives_no_alarm(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, *healthy())
    assert alarms_of(facts, ["minmax"]) == []
    assert facts["clicks"]["valid"] == 125
    for judged in facts["adversary"].values():
        assert abs(judged[0]["auc"] - 0.5) < 3 * judged[0]["chance"]


def test_the_clicks_that_count_are_those_of_the_rows_that_judge() -> None:
    few = {"rows": 5_000, "clicks": 60}
    (alarm,) = [a for a in alarms_of(plain_facts(judging=few), ["quantile"]) if "clicks" in a.text]
    assert "The 5,000 holdout rows have 60 clicks" in alarm.text
    assert "sampling.holdout_share" in alarm.advice


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_gives_its_alarm_and_no_other(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No alarm rests on it.
    monkeypatch.setattr("feseq.describe.facts.adversary", lambda *_: None)
    spoil, text, advice = FAULTS[fault]
    (alarm,) = alarms_of(facts_of(tmp_path, *spoil(*healthy())), ["minmax"])
    assert text in alarm.text
    assert advice in alarm.advice


def test_an_outlier_alarms_no_model_that_takes_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feseq.describe.facts.adversary", lambda *_: None)
    facts = facts_of(tmp_path, *an_outlier(*healthy()))
    assert alarms_of(facts, ["quantile"]) == []
    assert len(alarms_of(facts, ["minmax", "quantile"])) == 1
