"""The data page: what the rows of one size look like, to be read before any training."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..describe.alarms import Alarm, alarms_text
from ..describe.drift import MUCH_DRIFT, SOME_DRIFT, SURE
from .page import SIMULATED, markdown_table, percent, write_page

# Columns in a sentence.
_NAMED = 12
# From this share of rows with a sequence of train on, users are said to be on both sides.
_MET_AGAIN = 0.02
_LOOKS = {"empty": "no value", "levels": "few values", "whole": "whole numbers"}
_TRY = "try them as `context` columns, or `model.numerics: [buckets]`"
_FLATTERED = (
    "So metrics on the validation rows flatter a model that remembers users; `sampling.split` can "
    "hold out whole users or the newest rows."
)
# What a reader learns from each plot.
PLOTS = {
    "click_rates": "Whether clicks depend on the place in the file, which tells of its order in "
    "time, or on a category, and which of the categories the test rows have.",
    "missing": "Which columns are missing together, how often, and whether that tells of clicks.",
    "lengths": "Whether sequences are as long in all tables, and whether length tells of clicks.",
    "drift": "Which columns the test rows have other values in, and whether the validation rows "
    "show it: where they do not, their metrics flatter.",
}
_TABLE = f"""\
Values: how many differ. Missing: of the train rows, and of the test rows. Range: of all train
rows. Middle: the share of the range that holds the middle 98 % of the values. AUC: how well the
column alone ranks the train clicks. PSI: population stability index from train; below {SOME_DRIFT}
there is hardly any drift, from {MUCH_DRIFT} on much. Unseen: test rows with a category that the
model does not know.
"""


def write_data_page(
    facts: Mapping[str, Any],
    alarms: Sequence[Alarm],
    plots: Mapping[str, Path],
    page: Path,
    view: Path,
) -> None:
    """Write the page as Markdown, and as HTML; `plots` by their names in PLOTS."""
    parts = [f"# Data of size {facts['size']}\n"]
    parts += [SIMULATED] * facts["simulated_data"]
    parts += ["## Alarms\n", alarms_text(alarms), "## Rows\n", _rows_table(facts)]
    parts += ["## What stands out\n", "\n".join(f"- {line}" for line in _findings(facts)), ""]
    parts.append("## Plots\n")
    for name, text in PLOTS.items():
        parts.append(f"{text}\n\n![{name}]({os.path.relpath(plots[name], page.parent)})\n")
    parts += ["## Columns\n", _columns_table(facts)]
    write_page("\n".join(parts), page, view)


def _rows_table(facts: Mapping[str, Any]) -> str:
    table = pd.DataFrame({"table": facts["rows"].keys(), "rows": facts["rows"].values()})
    clicks = table["table"].map(facts["clicks"])
    rates = [percent(rate) for rate in clicks / table["rows"].clip(lower=1)]
    table = table.assign(
        rows=[f"{count:,}" for count in table["rows"]],
        clicks=[f"{count:,.0f}" for count in clicks],
        rate=rates,
    ).mask(clicks.isna().to_numpy()[:, None] & [[False, False, True, True]], "")
    sampled = " and ".join(
        f"{count:,} of {facts['rows'][name]:,} {name} rows"
        for name, count in facts["sampled_rows"].items()
        if count < facts["rows"][name]
    )
    note = "All rows are counted."
    if sampled:
        note += (
            f" What compares columns is from a sample, rows at equal distances: {sampled}; missing "
            f"values, unseen categories, click rates and lengths are from all rows."
        )
    return f"{markdown_table(table.rename(columns={'rate': 'click rate'}))}\n{note}\n"


def _findings(facts: Mapping[str, Any]) -> Iterator[str]:
    """What a reader should know before training, one line each."""
    for name, what in (("test", "test"), ("valid", "validation")):
        yield from _adversary_lines(facts["adversary"][name], what)
    for sequence in facts["sequences"]:
        yield from _sequence_lines(sequence)
    yield from _missing_lines(facts)
    yield from _numeric_lines([c for c in facts["columns"] if c["role"] == "numeric"])
    for groups, text in (
        (facts["equal"], "equal in every sampled row"),
        (facts["alike"], "ordered alike, with a rank correlation of 0.995 or more"),
    ):
        for group in groups:
            yield f"{_names(group)} are {text}: one of them is enough."


def _adversary_lines(adversaries: Sequence[Mapping[str, Any]], what: str) -> Iterator[str]:
    """How well boosting tells rows from train rows, and by what."""
    if not adversaries:
        yield f"Too few rows to say whether boosting can tell {what} rows from train rows."
        return
    first, *others = adversaries
    text = f"Boosting tells {what} rows from train rows with an AUC of **{first['auc']:.3f}**"
    if first["auc"] - 0.5 <= SURE * first["chance"]:
        yield f"{text}: not at all, beyond chance."
        return
    given = ", ".join(f"{name} ({lost:.3f})" for name, lost in list(first["columns"].items())[:5])
    yield (
        f"{text} (0.5: not at all). What gives them away, with the AUC lost when the column is "
        f"shuffled: {given}."
    )
    for other in others:
        yield (
            f"Without the columns that have drifted ({_names(other['without'])}), it is "
            f"{other['auc']:.3f}."
        )


def _sequence_lines(sequence: Mapping[str, Any]) -> Iterator[str]:
    name = sequence["column"]
    empty = sequence["lengths"][0]["rows"]["train"]
    rows = sum(entry["rows"]["train"] for entry in sequence["lengths"])
    yield (
        f"`{name}` has {sequence['mean']['train']:,.1f} events on average (median "
        f"{sequence['median']:,.0f}, longest {sequence['longest']['train']:,}), of "
        f"{sequence['tokens']:,} different codes; {percent(empty / max(1, rows))} of the train "
        f"rows have none. In the test the average is {sequence['mean']['test']:,.1f}, and "
        f"{percent(sequence['unseen']['test'])} of the events are unknown codes."
    )
    again = {name: share or 0.0 for name, share in sequence["in_train"].items()}
    yield (
        f"Of those that have one, {percent(sequence['twice_in_train'] or 0)} of the train rows "
        f"have their `{name}` in common with another train row; {percent(again['valid'])} of the "
        f"validation rows, and {percent(again['test'])} of the test rows, with a train row. "
        + (_FLATTERED if again["valid"] > _MET_AGAIN + 2 * again["test"] else "")
    ).rstrip()


def _missing_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for block in facts["missing_blocks"][:3]:
        share = percent(block["rows"] / facts["sampled_rows"]["train"])
        rate = percent(block["clicks"] / block["rows"])
        columns = block["columns"]
        verb = "is" if len(columns) == 1 else f"({len(columns)} columns) are"
        yield f"{_names(columns)} {verb} missing in {share} of the rows, with {rate} clicks."


def _numeric_lines(columns: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the values of numeric columns look like."""
    for kinds, text in (
        (("constant", "empty"), "Numeric columns with one value or none, which tell nothing"),
        (("levels",), f"Numeric columns with few values, levels rather than measurements; {_TRY}"),
        (("whole",), f"Whole numbers with many values, counts or IDs; for IDs, {_TRY}"),
    ):
        names = [column["column"] for column in columns if column["kind"] in kinds]
        if names:
            yield f"{text} ({len(names)}): {_names(names)}."
    infinite = [column["column"] for column in columns if any(column["infinite"].values())]
    if infinite:
        yield f"Columns with infinite values ({len(infinite)}): {_names(infinite)}."


def _columns_table(facts: Mapping[str, Any]) -> str:
    rows = [
        {
            "column": column["column"],
            "looks like": _LOOKS.get(column["kind"], column["kind"]),
            "values": f"{column['distinct']:,}",
            "missing": percent(column["missing"]["train"]),
            "in test": percent(column["missing"]["test"]),
            "range": " to ".join(f"{end:.4g}" for end in column.get("range", [])),
            "middle": _number(column.get("middle_share"), "{:.2g}"),
            "AUC": _number(column["click_auc"], "{:.3f}"),
            "PSI valid": f"{column['stability_index']['valid']:.3f}",
            "PSI test": f"{column['stability_index']['test']:.3f}",
            "unseen": percent(column["unseen"]["test"]) if "unseen" in column else "",
        }
        for column in facts["columns"]
    ]
    return f"{markdown_table(pd.DataFrame(rows))}\n{_TABLE}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
