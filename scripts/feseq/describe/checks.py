"""The checks that raise alarms, each a function of the facts that `describe` finds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
_NAMED = 8


def alarms_of(facts: Mapping[str, Any], scalings: Sequence[str]) -> list[Alarm]:
    """The alarms that the facts of `describe` give.

    `scalings` are those of the numeric columns in the models that will submit.
    """
    return [alarm for check in _CHECKS for alarm in check(facts, scalings)]


def _few_clicks(facts: Mapping[str, Any], _: Sequence[str]) -> Iterator[Alarm]:
    clicks, rows = facts["reported"]["clicks"], facts["reported"]["rows"]
    kept_apart = rows < facts["rows"]["valid"]
    kind = "holdout" if kept_apart else "validation"
    if clicks < LEAST_CLICKS:
        yield Alarm(
            f"The {rows:,} {kind} rows have {clicks:,} clicks, fewer than {LEAST_CLICKS}, so every "
            f"metric on them is uncertain",
            "Measure models on a larger size, or raise sampling.valid_share"
            + " or sampling.holdout_share" * kept_apart,
        )


def _leaks(facts: Mapping[str, Any], _: Sequence[str]) -> Iterator[Alarm]:
    found = [c for c in facts["columns"] if (c["click_auc"] or 0) > LEAK_AUC]
    if found:
        first = max(found, key=lambda column: column["click_auc"])
        yield Alarm(
            f"{_columns(found)} alone {_verb(found, 'predicts', 'predict')} the clicks, with an "
            f"AUC of {first['click_auc']:.4f} on train rows",
            "Take what is known only after the click out of columns.groups",
        )


def _same_rows(facts: Mapping[str, Any], _: Sequence[str]) -> Iterator[Alarm]:
    same = {name: share or 0.0 for name, share in facts["same_rows"].items()}
    share = max(same["test_in_known"], same["known_in_test"])
    if share >= SAME_ROWS and same["valid_in_train"] < NEW_ROWS:
        is_test = share == same["test_in_known"]
        which = "test rows are train rows" if is_test else "train rows are test rows"
        yield Alarm(
            f"{share:.0%} of the {which} in every feature",
            "Check that raw.test is not the train file, or a part of it",
        )


def _missing_in_test(facts: Mapping[str, Any], _: Sequence[str]) -> Iterator[Alarm]:
    def is_lost(column: Mapping[str, Any]) -> bool:
        train, test = column["missing"]["train"], column["missing"]["test"]
        return test - train > MISSING or (test == 1 and train < 1)

    found = [c for c in _raw(facts, "numeric", "category") if is_lost(c)]
    if found:
        missing = found[0]["missing"]
        yield Alarm(
            f"{_columns(found)} {_verb(found, 'is', 'are')} missing in most test rows: "
            f"{missing['test']:.0%}, and {missing['train']:.0%} of the train rows",
            "Correct the test file, or take the column out of columns.groups",
        )


def _another_scale(facts: Mapping[str, Any], _: Sequence[str]) -> Iterator[Alarm]:
    numeric = [c for c in _raw(facts, "numeric") if c["missing"]["test"] < 1]
    outside = [c for c in numeric if (c["test_outside"] or 0) > OUTSIDE]
    scaled = [
        c
        for c in numeric
        if c not in outside
        and c["test_scale"] is not None
        and not 1 / SCALE < c["test_scale"] < SCALE
        and c["stability_index"]["test"] > MUCH_DRIFT
    ]
    if outside:
        low, high = outside[0]["range"]
        yield Alarm(
            f"{_columns(outside)}: {outside[0]['test_outside']:.0%} of the test values lie outside "
            f"the range of the train values, {low:.6g} to {high:.6g}",
            "Bring both files to one unit; leave out a column that counts on, such as a date or ID",
        )
    if scaled:
        yield Alarm(
            f"{_columns(scaled)}: test values are {scaled[0]['test_scale']:.3g} times as large as "
            f"train values (medians without zeros)",
            "Bring both files to one unit",
        )


def _unseen(facts: Mapping[str, Any], _: Sequence[str]) -> Iterator[Alarm]:
    for entries, what, advice in (
        (
            _raw(facts, "category"),
            "rows have a category",
            "Check that both files are coded alike, or leave out a column of IDs that are ever new",
        ),
        (
            facts["sequences"],
            "events are a code",
            "Check that both files are coded alike; lower sizes.{size}.min_count, or use a larger "
            "size",
        ),
    ):
        found = [entry for entry in entries if entry["unseen"]["test"] > UNSEEN]
        if found:
            yield Alarm(
                f"{_columns(found)}: {found[0]['unseen']['test']:.0%} of the test {what} that the "
                f"train rows do not have often enough to be known",
                advice.format(size=facts["size"]),
            )


def _outliers(facts: Mapping[str, Any], scalings: Sequence[str]) -> Iterator[Alarm]:
    found = [c for c in _raw(facts, "numeric") if (c["middle_share"] or 1) < SPREAD]
    if found and set(scalings) - {"quantile"}:
        low, high = found[0]["range"]
        yield Alarm(
            f"{_columns(found)}: outliers leave no spread; the range is {low:.6g} to {high:.6g}, "
            f"and the middle 98 % of the values fill {found[0]['middle_share']:.2g} of it",
            "Set model.scaling: quantile, or correct these values",
        )


_CHECKS: tuple[Callable[[Mapping[str, Any], Sequence[str]], Iterator[Alarm]], ...] = (
    _leaks,
    _same_rows,
    _missing_in_test,
    _another_scale,
    _unseen,
    _outliers,
    _few_clicks,
)


def _raw(facts: Mapping[str, Any], *roles: str) -> list[dict[str, Any]]:
    return [column for column in facts["columns"] if column["role"] in roles]


def _columns(entries: Sequence[Mapping[str, Any]]) -> str:
    names = [entry["column"] for entry in entries]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{'Column' if len(names) == 1 else 'Columns'} {', '.join(names[:_NAMED])}{more}"


def _verb(entries: Sequence[object], one: str, many: str) -> str:
    return one if len(entries) == 1 else many
