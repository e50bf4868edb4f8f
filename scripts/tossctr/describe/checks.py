"""The checks that find alarms (faults in the data) in the statistics of `describe`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..common.errors import join_names
from .alarms import Alarm
from .drift import MUCH_DRIFT

MIN_CLICKS = 100
# A fault: at least MIN_TEST_OVERLAP of the test rows equal a row of the train file, or the reverse,
# and less than MAX_VALID_OVERLAP of the validation rows equal a train row.
MIN_TEST_OVERLAP, MAX_VALID_OVERLAP = 0.9, 0.5
_MAX_NAMED = 8
_UNSEEN_SHARES = ("unseen_valid", "unseen_test")

# A similar share in the validation rows is no fault: metrics account for new users or adverts.
_UNSEEN_QUERY = "unseen_test > 0.1 and unseen_test > 2 * unseen_valid"
_CHECK_CODES = "Check that both files use the same codes"
# Each check: a query for the columns or sequences with a fault; the text, with the numbers of the
# first faulty column; the advice. Comparisons with NaN are false.
_COLUMN_CHECKS = (
    (
        "click_auc > 0.99",
        "predicts the clicks on its own, with an AUC of {click_auc:.4f} on train rows",
        "If its value is known only after a click, remove the column from columns.groups",
    ),
    (
        "role in ['numeric', 'category'] and "
        "(missing_test > missing_train + 0.5 or missing_train < missing_test == 1)",
        "is missing in {missing_test:.0%} of test rows and {missing_train:.0%} of train rows",
        "Correct the test file, or remove the column from columns.groups",
    ),
    (
        "test_outside > 0.5",
        "has {test_outside:.0%} of its test values outside the range of its train values, "
        "{low:.6g} to {high:.6g}",
        "Use the same unit in both files; remove a column that keeps growing, such as a date or ID",
    ),
    (
        # Values that are so much larger or smaller usually have another unit.
        f"test_outside <= 0.5 and psi_test > {MUCH_DRIFT} "
        "and (test_scale <= 0.2 or test_scale >= 5)",
        "has test values {test_scale:.3g} times its train values (medians of nonzero values)",
        "Use the same unit in both files",
    ),
    (
        # Float32 keeps 24 bits of a number, too few for seconds since 1970.
        "step > 1 and 0 < high - low < 0.25 * largest",
        "has values from {low:.10g} to {high:.10g}, which float32 rounds to steps of {step:.0f}",
        "Write the values with another origin or unit, such as days since the first row",
    ),
    (
        _UNSEEN_QUERY,
        "has out-of-vocabulary categories in {unseen_test:.0%} of the test rows and "
        "{unseen_valid:.0%} of the validation rows",
        _CHECK_CODES,
    ),
)
_SEQUENCE_CHECK = (
    _UNSEEN_QUERY,
    "has out-of-vocabulary codes in {unseen_test:.0%} of the test events and "
    "{unseen_valid:.0%} of the validation events",
    f"{_CHECK_CODES}, or lower the size's min_count",
)
# Checks of each table: a fact (a share), the smallest share that is a fault, text and advice.
_TABLE_CHECKS = (
    (
        "later_events",
        0.01,
        "of the {table} rows' events are later than their row, so a history may reveal the click",
        "Cut each history at the time of its row, or correct the unit or time zone",
    ),
    (
        "backward_steps",
        0.9,
        "of the steps from event to event in the {table} rows go back in time, so the histories "
        "are newest first",
        "List the events of each history oldest first",
    ),
)


def find_alarms(facts: Mapping[str, Any]) -> list[Alarm]:
    """The faults in the data that the checks find in `facts`, the result of `describe`."""
    columns = pd.DataFrame(facts["columns"])
    # A fact that a column's role does not have is None.
    numbers = columns.columns.difference(["column", "role"])
    columns[numbers] = columns[numbers].astype(float)
    columns["largest"] = columns[["low", "high"]].abs().max(axis=1)
    columns["step"] = np.spacing(columns["largest"].to_numpy(np.float32))
    sequences = pd.DataFrame(facts["sequences"], columns=["column", *_UNSEEN_SHARES])
    sequences = sequences.astype(dict.fromkeys(_UNSEEN_SHARES, float))
    return [
        *(alarm for check in _COLUMN_CHECKS for alarm in _column_alarms(columns, *check)),
        *_column_alarms(sequences, *_SEQUENCE_CHECK),
        *_table_alarms(facts),
    ]


def _column_alarms(columns: pd.DataFrame, fault: str, text: str, advice: str) -> Iterator[Alarm]:
    """Yield a single alarm for all faulty columns, if there are any."""
    faulty = columns.query(fault)
    if "click_auc" in faulty:  # the strongest columns come first
        faulty = faulty.sort_values("click_auc", ascending=False, kind="stable")
    if names := list(faulty["column"]):
        also = f" (also {join_names(names[1:], _MAX_NAMED)})" if names[1:] else ""
        yield Alarm(f"Column {names[0]}{also} {text.format(**faulty.iloc[0])}", advice)


def _table_alarms(facts: Mapping[str, Any]) -> Iterator[Alarm]:
    """Yield the alarms of whole tables."""
    for fact, min_share, text, advice in _TABLE_CHECKS:
        share, table = max((share, table) for table, share in facts[fact].items())
        if share >= min_share:
            yield Alarm(f"{share:.0%} {text.format(table=table)}", advice)
    same = facts["same_rows"]
    texts = {
        "test_in_known": "test rows equal a row of the train file",
        "known_in_test": "train rows equal a row of the test file",
    }
    worst = max(texts, key=lambda name: same[name])
    if same[worst] >= MIN_TEST_OVERLAP and same["valid_in_train"] < MAX_VALID_OVERLAP:
        yield Alarm(
            f"{same[worst]:.0%} of the {texts[worst]} in every feature",
            "Check that raw.test is neither the train file nor a part of it",
        )
    rows, clicks = facts["rows"]["valid"], facts["clicks"]["valid"]
    if clicks < MIN_CLICKS:
        yield Alarm(
            f"The {rows:,} validation rows have {clicks:,} clicks, fewer than {MIN_CLICKS}, so "
            f"their metrics are uncertain",
            "Hold out more rows (`sampling: {valid_share: 0.3}` in the config), or use more rows",
        )
