"""The checks that raise alarms, from the facts of `describe`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..common.errors import shorten
from .alarms import Alarm
from .drift import MUCH_DRIFT

MIN_CLICKS = 100
# SAME_ROWS of the test rows are train rows, or the reverse, but fewer than NEW_ROWS of the
# validation rows: that is a fault.
SAME_ROWS, NEW_ROWS = 0.9, 0.5
_NAMED = 8
_SHARES = ("unseen_valid", "unseen_test")

# Where the validation rows have as many, they are new users or adverts, as metrics know.
_UNSEEN = "unseen_test > 0.1 and unseen_test > 2 * unseen_valid"
_ALIKE = "Check that both files use the same codes"
# Each check: a query for the columns or sequences with a fault; the text, filled from the first
# one that has it; the advice. Comparisons with unknown numbers are false.
_COLUMN_CHECKS = (
    (
        "click_auc > 0.99",
        "predicts the clicks on its own, with an AUC of {click_auc:.4f} on train rows",
        "Remove from columns.groups what is known only after a click",
    ),
    (
        "role in ['numeric', 'category'] and "
        "(missing_test > missing_train + 0.5 or missing_train < missing_test == 1)",
        "missing in {missing_test:.0%} of the test rows, and in {missing_train:.0%} of the train "
        "rows",
        "Correct the test file, or take the column out of columns.groups",
    ),
    (
        "test_outside > 0.5",
        "{test_outside:.0%} of the test values lie outside the range of the train values, "
        "{low:.6g} to {high:.6g}",
        "Use one unit in both files; leave out a column that keeps growing, such as a date or ID",
    ),
    (
        # Another unit makes values this much larger or smaller; other drift rarely does.
        f"test_outside <= 0.5 and psi_test > {MUCH_DRIFT} "
        "and (test_scale <= 0.2 or test_scale >= 5)",
        "test values are {test_scale:.3g} times as large as train values (medians without zeros)",
        "Use one unit in both files",
    ),
    (
        # Float32 keeps 24 bits of a number, too few for seconds since 1970.
        "step > 1 and 0 < high - low < 0.25 * largest",
        "values between {low:.10g} and {high:.10g} are kept in steps of {step:.0f} in float32",
        "Write them with another origin or unit, such as days since the first",
    ),
    (
        _UNSEEN,
        "{unseen_test:.0%} of the test rows have a category that is rare or absent in train, "
        "against {unseen_valid:.0%} of the validation rows",
        _ALIKE,
    ),
)
_SEQUENCE_CHECK = (
    _UNSEEN,
    "{unseen_test:.0%} of the test events have a code that is rare or absent in train, against "
    "{unseen_valid:.0%} of the validation events",
    f"{_ALIKE}, or lower the size's min_count",
)
# Checks of each table: the fact, the share from which it is a fault, the text and the advice.
_TABLE_CHECKS = (
    (
        "later_events",
        0.01,
        "of the events of the {table} rows are later than their row, so histories may reveal the "
        "row's click",
        "Cut each history at the time of its row, or correct the unit or time zone",
    ),
    (
        "backward_steps",
        0.9,
        "of the steps between events of the {table} rows go back in time, so their histories are "
        "newest first",
        "List the events of each history oldest first",
    ),
)


def alarms_of(facts: Mapping[str, Any]) -> list[Alarm]:
    """The alarms that follow from the facts of `describe`."""
    columns = pd.DataFrame(facts["columns"])
    # Facts that a column's role lacks are None.
    numbers = columns.columns.difference(["column", "role"])
    columns[numbers] = columns[numbers].astype(float)
    columns["largest"] = columns[["low", "high"]].abs().max(axis=1)
    columns["step"] = np.spacing(columns["largest"].to_numpy(np.float32))
    sequences = pd.DataFrame(facts["sequences"], columns=["column", *_SHARES])
    sequences = sequences.astype(dict.fromkeys(_SHARES, float))
    return [
        *(alarm for check in _COLUMN_CHECKS for alarm in _column_alarms(columns, *check)),
        *_column_alarms(sequences, *_SEQUENCE_CHECK),
        *_table_alarms(facts),
    ]


def _column_alarms(columns: pd.DataFrame, fault: str, text: str, advice: str) -> Iterator[Alarm]:
    """One alarm for all columns with a fault, if there are any."""
    faulty = columns.query(fault)
    if "click_auc" in faulty:  # the strongest columns come first
        faulty = faulty.sort_values("click_auc", ascending=False, kind="stable")
    if names := list(faulty["column"]):
        which = f"Column{'s' if len(names) > 1 else ''} {shorten(names, _NAMED)}"
        yield Alarm(f"{which}: {text.format(**faulty.iloc[0])}", advice)


def _table_alarms(facts: Mapping[str, Any]) -> Iterator[Alarm]:
    """The alarms of whole tables."""
    for fact, least, text, advice in _TABLE_CHECKS:
        share, table = max((share, table) for table, share in facts[fact].items())
        if share >= least:
            yield Alarm(f"{share:.0%} {text.format(table=table)}", advice)
    same = facts["same_rows"]
    which = {"test_in_known": "test rows are train", "known_in_test": "train rows are test"}
    most = max(which, key=lambda name: same[name])
    if same[most] >= SAME_ROWS and same["valid_in_train"] < NEW_ROWS:
        yield Alarm(
            f"{same[most]:.0%} of the {which[most]} rows in every feature",
            "Check that raw.test is not the train file, or a part of it",
        )
    rows, clicks = facts["rows"]["valid"], facts["clicks"]["valid"]
    if clicks < MIN_CLICKS:
        yield Alarm(
            f"The {rows:,} validation rows have {clicks:,} clicks, fewer than {MIN_CLICKS}, so "
            f"every metric on them is uncertain",
            "Raise sampling.valid_share, or draw more rows",
        )
