"""Each simulated fault gives its alarm and no other, and a healthy table gives none."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feseq.describe.checks import alarms_of
from support.facts import facts_of
from support.raw_tables import raw_table, with_column

ROWS = 2_000
TRAIN, TEST = raw_table(ROWS, 1), raw_table(ROWS, 2)
CLICKS = TRAIN["y"].to_numpy()
NORMAL = np.random.default_rng(0).normal(size=ROWS)
SMALL = np.append(1e-6, np.exp(NORMAL[1:]))
AGES = [None if i % 9 == 0 else float(20 + i % 50) for i in range(ROWS)]
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
    "an outlier": ({"age": [*AGES[:-1], 1e9]}, {"age": AGES}, "Column age: outliers"),
    "few clicks": ({"y": SIXTHS}, {}, "validation rows have 84 clicks"),
}


def with_columns(table: pa.Table, given: dict[str, Any]) -> pa.Table:
    for name, values in given.items():
        table = with_column(table, name, values)
    return table


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_gives_its_alarm_and_no_other(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No alarm rests on it.
    monkeypatch.setattr("feseq.describe.facts.adversary", lambda *_: None)
    train, test, text = FAULTS[fault]
    test_table = with_columns(TEST, test) if isinstance(test, dict) else test
    facts = facts_of(tmp_path, with_columns(TRAIN, train), test_table)
    (alarm,) = alarms_of(facts, ["minmax"])
    assert text in alarm.text
    # Models that take ranks see no outlier.
    assert bool(alarms_of(facts, ["quantile"])) == (fault != "an outlier")


def test_a_healthy_table_gives_no_alarm_but_of_few_holdout_clicks(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, TRAIN, TEST)
    assert alarms_of(facts, ["minmax"]) == []
    assert all(results["is_chance"] for results in facts["adversary"].values())
    (alarm,) = alarms_of(facts | {"reported": {"rows": 400, "clicks": 60}}, ["minmax"])
    assert "The 400 holdout rows have 60 clicks" in alarm.text
