"""The checks that raise alarms, from the facts of `describe`."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..common.errors import some_of
from .alarms import Alarm
from .drift import MUCH_DRIFT

LEAK_AUC = 0.99
LEAST_CLICKS = 100
# The share of a table's events that are later than their row, and that of steps back in time from
# one event to the next.
LATER, BACKWARD = 0.01, 0.9
UNSEEN = 0.1
# Rows of the test that are train rows as well, or the reverse, while validation rows are new.
SAME_ROWS, NEW_ROWS = 0.9, 0.5
# Where the middle 98 % of a column's values span less of its range, min-max scaling flattens it.
SPREAD = 1e-3
# Another unit makes values this much larger or smaller; other drift rarely does.
SCALE = 5.0
OUTSIDE = MISSING = 0.5
# The share of rows with one text that means missing.
SAID_MISSING = 0.01
# Numbers above 2^24 that span a smaller share of their size, such as seconds since 1970, are too
# coarse: float32 keeps 24 bits of a number.
SPAN = 0.25
_NAMED = 8
# Numbers among the facts of a sequence.
_OF_SEQUENCES = ["unseen_test", "missing_word_share"]

_SAID_MISSING_CHECK = (
    f"missing_word_share >= {SAID_MISSING}",
    "{missing_word_share:.0%} of the rows of a table have the text {missing_word!r}, which counts "
    "as a value like any other",
    "If it means that a value is missing, leave it empty in the file, or null",
)
# Each check: the columns with a fault, for `DataFrame.query`; the text, filled from the first of
# them; the advice. A comparison with an unknown number is false.
_COLUMN_CHECKS = (
    (
        f"click_auc > {LEAK_AUC}",
        "predicts the clicks on its own, with an AUC of {click_auc:.4f} on train rows",
        "Take what is known only after the click out of columns.groups",
    ),
    (
        f"role in ['numeric', 'category'] and "
        f"(missing_test > missing_train + {MISSING} or missing_train < missing_test == 1)",
        "missing in {missing_test:.0%} of the test rows, and in {missing_train:.0%} of the train "
        "rows",
        "Correct the test file, or take the column out of columns.groups",
    ),
    (
        f"test_outside > {OUTSIDE}",
        "{test_outside:.0%} of the test values lie outside the range of the train values, "
        "{low:.6g} to {high:.6g}",
        "Bring both files to one unit; leave out a column that keeps growing, such as a date or ID",
    ),
    (
        f"test_outside <= {OUTSIDE} and psi_test > {MUCH_DRIFT} and "
        f"(test_scale <= {1 / SCALE} or test_scale >= {SCALE})",
        "test values are {test_scale:.3g} times as large as train values (medians without zeros)",
        "Bring both files to one unit",
    ),
    (
        f"step > 1 and 0 < span < {SPAN} * largest",
        "values between {low:.10g} and {high:.10g} are kept in steps of {step:.0f}, as float32",
        "Write them from another start or in another unit, such as days since the first",
    ),
    _SAID_MISSING_CHECK,
)
_UNSEEN_CHECK = (
    f"unseen_test > {UNSEEN}",
    "{unseen_test:.0%} of the test rows have a category that the train rows do not have often "
    "enough to be known",
)
_LATER_EVENTS = (
    "of the events of the {table} rows are later than their row, so histories may tell what was "
    "clicked in it",
    "Cut each history at the time of its row, or correct the unit or zone of the times",
)
_NEWEST_FIRST = (
    "of the steps between events of the {table} rows go back in time, so their histories are "
    "newest first",
    "List the events of each history oldest first",
)
_MINMAX_CHECK = (
    f"middle_share < {SPREAD}",
    "outliers leave no spread; the range is {low:.6g} to {high:.6g}, and the middle 98 % of the "
    "values fill {middle_share:.2g} of it",
    "Set model.scaling: quantile, or correct these values",
)
_SEQUENCE_CHECK = (
    f"unseen_test > {UNSEEN}",
    "{unseen_test:.0%} of the test events are a code that the train rows do not have often enough "
    "to be known",
)


def alarms_of(
    facts: Mapping[str, Any], scalings: Collection[str], size_rows: int | None
) -> list[Alarm]:
    """The alarms that follow from the facts of `describe`.

    `scalings` are those of the numeric columns in the models that will submit. `size_rows` is how
    many rows the size draws from the table, None for all.
    """
    larger = _larger_size(facts, size_rows)
    columns = pd.DataFrame(facts["columns"])
    # Facts that columns of some role lack are None.
    numbers = columns.columns.drop(["column", "role", "kind", "missing_word"])
    columns[numbers] = columns[numbers].astype(float)
    sequences = pd.DataFrame(facts["sequences"], columns=["column", *_OF_SEQUENCES, "missing_word"])
    sequences[_OF_SEQUENCES] = sequences[_OF_SEQUENCES].astype(float)
    columns["span"] = columns["high"] - columns["low"]
    columns["largest"] = columns[["low", "high"]].abs().max(axis=1)
    columns["step"] = np.spacing(columns["largest"].to_numpy(np.float32))
    of_unseen = _joined(
        "Check that both files are coded alike; leave out a column of IDs that are always new",
        larger,
    )
    checks = [*_COLUMN_CHECKS, (*_UNSEEN_CHECK, of_unseen)]
    if "minmax" in scalings:
        checks.append(_MINMAX_CHECK)
    advice = _joined(
        "Check that both files are coded alike",
        "lower the size's min_count" if facts["min_count"] > 1 else "",
        larger,
    )
    sequence_checks = ((*_SEQUENCE_CHECK, advice), _SAID_MISSING_CHECK)
    return [
        *(alarm for check in checks for alarm in _column_alarms(columns, *check)),
        *(alarm for check in sequence_checks for alarm in _column_alarms(sequences, *check)),
        *_of_a_table(facts["later_events"], LATER, *_LATER_EVENTS),
        *_of_a_table(facts["backward_steps"], BACKWARD, *_NEWEST_FIRST),
        *_same_rows(facts["same_rows"]),
        *_few_clicks(facts["rows"]["valid"], facts["clicks"]["valid"], larger),
    ]


def _larger_size(facts: Mapping[str, Any], size_rows: int | None) -> str:
    """The advice to take a larger size; '' where this one has all rows that can be drawn."""
    drawn, there = facts["rows"]["train"] + facts["rows"]["valid"], facts["table_rows"]
    # A split by groups and time leaves some rows out, of whatever size.
    if size_rows is None or drawn < min(size_rows, there) or drawn == there:
        return ""
    return f"take a larger size, since this one has {drawn:,} of the table's {there:,} rows"


def _joined(*advice: str) -> str:
    """Several pieces of advice, without empty ones."""
    return ", or ".join(filter(None, advice))


def _column_alarms(columns: pd.DataFrame, fault: str, text: str, advice: str) -> Iterator[Alarm]:
    """One alarm for all columns with a fault, if there are any."""
    faulty = columns.query(fault)
    if "click_auc" in faulty:  # the strongest columns come first
        faulty = faulty.sort_values("click_auc", ascending=False, kind="stable")
    names = list(faulty["column"])
    if names:
        which = f"Column{'s' if len(names) > 1 else ''} {some_of(names, _NAMED)}"
        yield Alarm(f"{which}: {text.format(**faulty.iloc[0])}", advice)


def _of_a_table(
    shares: Mapping[str, float], least: float, what: str, advice: str
) -> Iterator[Alarm]:
    """An alarm if the largest of the tables' shares is so large; `what` names the {table}."""
    table = max(shares, key=lambda name: shares[name])
    if shares[table] >= least:
        yield Alarm(f"{shares[table]:.0%} {what.format(table=table)}", advice)


def _same_rows(shares: Mapping[str, float]) -> Iterator[Alarm]:
    which = {"test_in_known": "test rows are train", "known_in_test": "train rows are test"}
    most = max(which, key=lambda name: shares[name])
    if shares[most] >= SAME_ROWS and shares["valid_in_train"] < NEW_ROWS:
        yield Alarm(
            f"{shares[most]:.0%} of the {which[most]} rows in every feature",
            "Check that raw.test is not the train file, or a part of it",
        )


def _few_clicks(rows: int, clicks: int, larger: str) -> Iterator[Alarm]:
    if clicks < LEAST_CLICKS:
        yield Alarm(
            f"The {rows:,} validation rows have {clicks:,} clicks, fewer than {LEAST_CLICKS}, so "
            f"every metric on them is uncertain",
            _joined("Raise sampling.valid_share", larger),
        )
