"""The checks that raise alarms, from the facts that `describe` finds."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .alarms import Alarm
from .drift import MUCH_DRIFT

LEAK_AUC = 0.99
LEAST_CLICKS = 100
UNSEEN = 0.1
# Rows of the test that are train rows as well, or the reverse, while validation rows are new.
SAME_ROWS, NEW_ROWS = 0.9, 0.5
# Where the middle 98 % of a column's values span less of its range, min-max scaling flattens it.
SPREAD = 1e-3
# Another unit makes values this much larger or smaller; other drift rarely does.
SCALE = 5.0
OUTSIDE = MISSING = 0.5
# Numbers above 2^24 that span a smaller share of their size, such as seconds since 1970, lose what
# tells them apart: float32 keeps 24 bits of a number.
SPAN = 0.25
_NAMED = 8


def alarms_of(facts: Mapping[str, Any], scalings: Collection[str]) -> list[Alarm]:
    """The alarms that the facts of `describe` give.

    `scalings` are those of the numeric columns in the models that will submit.
    """
    columns, sequences = pd.DataFrame(facts["columns"]), pd.DataFrame(facts["sequences"])
    return [
        *_of_columns(columns, scalings),
        *_too_coarse(columns),
        *_unseen(columns, "rows have a category", "leave out a column of IDs that are ever new"),
        *_unseen(
            sequences,
            "events are a code",
            f"lower sizes.{facts['size']}.min_count, or take a larger size if the table has more",
        ),
        *_same_rows(facts["same_rows"]),
        *_few_clicks(facts["reported"], facts["rows"]["valid"]),
    ]


def _of_columns(columns: pd.DataFrame, scalings: Collection[str]) -> Iterator[Alarm]:
    raw = columns[columns["role"].isin(["numeric", "category"])]
    lost = (raw["missing_test"] - raw["missing_train"] > MISSING) | (
        (raw["missing_test"] == 1) & (raw["missing_train"] < 1)
    )
    numeric = columns[(columns["role"] == "numeric") & (columns["missing_test"] < 1)]
    # Empty columns have no such facts.
    outside, scale = (numeric[name].astype(float) for name in ("test_outside", "test_scale"))
    is_scaled = (scale <= 1 / SCALE) | (scale >= SCALE)
    yield from _alarms(
        columns[columns["click_auc"].astype(float) > LEAK_AUC].sort_values(
            "click_auc", ascending=False
        ),
        "predicts the clicks on its own, with an AUC of {click_auc:.4f} on train rows",
        "Take what is known only after the click out of columns.groups",
    )
    yield from _alarms(
        raw[lost],
        "missing in {missing_test:.0%} of the test rows, and in {missing_train:.0%} of the train "
        "rows",
        "Correct the test file, or take the column out of columns.groups",
    )
    yield from _alarms(
        numeric[outside > OUTSIDE],
        "{test_outside:.0%} of the test values lie outside the range of the train values, "
        "{low:.6g} to {high:.6g}",
        "Bring both files to one unit; leave out a column that counts on, such as a date or ID",
    )
    yield from _alarms(
        numeric[
            is_scaled & ~(outside > OUTSIDE) & (numeric["psi_test"].astype(float) > MUCH_DRIFT)
        ],
        "test values are {test_scale:.3g} times as large as train values (medians without zeros)",
        "Bring both files to one unit",
    )
    if "minmax" in scalings:
        yield from _alarms(
            raw[raw["middle_share"].astype(float) < SPREAD],
            "outliers leave no spread; the range is {low:.6g} to {high:.6g}, and the middle 98 % "
            "of the values fill {middle_share:.2g} of it",
            "Set model.scaling: quantile, or correct these values",
        )


def _too_coarse(columns: pd.DataFrame) -> Iterator[Alarm]:
    train = columns[columns["role"] == "numeric"].astype({"low": float, "high": float})
    train["span"], size = train["high"] - train["low"], train[["low", "high"]].abs().max(axis=1)
    train["step"] = np.spacing(size.to_numpy(np.float32))
    yield from _alarms(
        train[(train["step"] > 1) & (train["span"] > 0) & (train["span"] < SPAN * size)],
        "values between {low:.10g} and {high:.10g} are kept in steps of {step:.0f}, as float32",
        "Write them from another start or in another unit, such as days since the first",
    )


def _unseen(found: pd.DataFrame, what: str, advice: str) -> Iterator[Alarm]:
    if len(found):
        yield from _alarms(
            found[found["unseen_test"].astype(float) > UNSEEN],
            f"{{unseen_test:.0%}} of the test {what} that the train rows do not have often enough "
            f"to be known",
            f"Check that both files are coded alike; {advice}",
        )


def _alarms(found: pd.DataFrame, text: str, advice: str) -> Iterator[Alarm]:
    """An alarm of these columns, if there are any; the text has the facts of the first one."""
    names = list(found["column"])
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        which = f"Column{'s' * (len(names) > 1)} {', '.join(names[:_NAMED])}{more}"
        yield Alarm(f"{which}: {text.format(**found.iloc[0])}", advice)


def _same_rows(shares: Mapping[str, float]) -> Iterator[Alarm]:
    share = max(shares["test_in_known"], shares["known_in_test"])
    if share >= SAME_ROWS and shares["valid_in_train"] < NEW_ROWS:
        is_test = share == shares["test_in_known"]
        which = "test rows are train rows" if is_test else "train rows are test rows"
        yield Alarm(
            f"{share:.0%} of the {which} in every feature",
            "Check that raw.test is not the train file, or a part of it",
        )


def _few_clicks(reported: Mapping[str, int], valid_rows: int) -> Iterator[Alarm]:
    clicks, rows = reported["clicks"], reported["rows"]
    kept_apart = rows < valid_rows
    kind = "holdout" if kept_apart else "validation"
    if clicks < LEAST_CLICKS:
        yield Alarm(
            f"The {rows:,} {kind} rows have {clicks:,} clicks, fewer than {LEAST_CLICKS}, so every "
            f"metric on them is uncertain",
            "Raise sampling.valid_share"
            + " or sampling.holdout_share" * kept_apart
            + ", or measure models on a larger size if the table has more rows",
        )
