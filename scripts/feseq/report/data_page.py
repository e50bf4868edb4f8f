"""The data page: what the rows of one size look like, to be read before any training."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..describe.alarms import Alarm
from ..describe.columns import SAME
from ..describe.drift import MUCH_DRIFT, SOME_DRIFT
from .page import (
    SIMULATED,
    alarms_text,
    literal,
    markdown_table,
    percent,
    texts,
    write_page,
)
from .plots.data import PLOTS
from .plots.style import save

# Columns in a sentence.
_NAMED = 12
# From this share of rows with a sequence of train on, users are said to be on both sides.
_MET_AGAIN = 0.02
_TRY = "try them as `context` columns, or `model.numerics: [buckets]`"
_LOOKS = {
    "constant": "Numeric columns with one value, which tell nothing",
    "empty": "Numeric columns without a value",
    "levels": f"Numeric columns with few values, levels rather than measurements; {_TRY}",
    "whole": f"Whole numbers with many values, counts or IDs; for IDs, {_TRY}",
}
_FLATTERED = (
    "So metrics on the validation rows flatter a model that remembers users; `sampling.split` can "
    "hold out whole users or the newest rows."
)
# What a reader learns from each plot.
_PLOTS = {
    "click_rates": "Whether clicks depend on the place in the file, which tells of its order in "
    "time, or on a category, and which of the categories the test rows have.",
    "missing": "Which columns are missing together, how often, and whether that tells of clicks.",
    "lengths": "Whether sequences are as long in all tables, and whether length tells of clicks.",
    "drift": "Which columns the test rows have other values in, and whether the validation rows "
    "show it: where they do not, their metrics flatter.",
}
_TABLE = f"""\
Values: how many differ. Missing: of the train rows, and of the test rows. Low and high: of all
train rows. Middle: the share of this range that holds the middle 98 % of the values. AUC: how well
the column alone ranks the train clicks. PSI: population stability index from train; below
{SOME_DRIFT} there is hardly any drift, from {MUCH_DRIFT} on much. Unseen: test rows with a category
that the model does not know.
"""


def write_data_page(
    facts: Mapping[str, Any], alarms: Sequence[Alarm], plots: list[Path], page: Path, view: Path
) -> None:
    """Draw the `plots`, and write the page as Markdown and as HTML."""
    for path in plots:
        save(PLOTS[path.stem](facts), path)
    parts = [f"# Data of size {facts['size']}\n"]
    parts += [SIMULATED] * facts["simulated_data"]
    parts += ["## Alarms\n", alarms_text(alarms), "## Rows\n", _rows_table(facts)]
    parts += ["## What stands out\n", "\n".join(f"- {line}" for line in _findings(facts)), ""]
    parts.append("## Plots\n")
    for path in plots:
        place = os.path.relpath(path, page.parent)
        parts.append(f"{_PLOTS[path.stem]}\n\n![{path.stem}]({place})\n")
    parts += ["## Columns\n", _columns_table(facts)]
    write_page("\n".join(parts), page, view)


def _rows_table(facts: Mapping[str, Any]) -> str:
    rows = pd.Series({name: count for name, count in facts["rows"].items() if count})
    clicks = pd.Series(facts["clicks"]).reindex(rows.index)
    table = pd.DataFrame(
        {
            "table": rows.index,
            "rows": texts(rows, "{:,}".format).to_numpy(),
            "clicks": texts(clicks, "{:,.0f}".format).to_numpy(),
            "click rate": texts(clicks / rows.clip(lower=1), percent).to_numpy(),
        }
    )
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
    return f"{markdown_table(table)}\n{note}\n"


def _findings(facts: Mapping[str, Any]) -> Iterator[str]:
    """What a reader should know before training, one line each."""
    for name, what in (("test", "test"), ("valid", "validation")):
        if facts["rows"][name]:
            yield _adversary_line(facts["adversary"][name], what)
    for sequence in facts["sequences"]:
        yield from _sequence_lines(sequence, bool(facts["rows"]["test"]))
    for block in facts["missing_blocks"][:3]:
        share = percent(block["rows"] / facts["sampled_rows"]["train"])
        rate = percent(block["clicks"] / block["rows"])
        yield f"Missing in {share} of the rows, with {rate} clicks: {_names(block['columns'])}."
    columns = pd.DataFrame(facts["columns"])
    numeric = columns[columns["role"] == "numeric"]
    found = {text: numeric["kind"] == kind for kind, text in _LOOKS.items()}
    found["Columns with infinite values"] = numeric["infinite"].astype(float) > 0
    for text, chosen in found.items():
        if chosen.any():
            yield f"{text} ({chosen.sum()}): {_names(list(numeric['column'][chosen]))}."
    for group in facts["alike"]:
        yield (
            f"Equal, or ordered alike with a rank correlation of {SAME} or more: {_names(group)}. "
            f"One of them is enough."
        )


def _adversary_line(found: Mapping[str, Any] | None, what: str) -> str:
    """How well boosting tells rows from train rows, and by what."""
    if found is None:
        return f"Too few rows to say whether boosting can tell {what} rows from train rows."
    text = f"Boosting tells {what} rows from train rows with an AUC of **{found['auc']:.3f}**"
    if found["is_chance"]:
        return f"{text}: not at all, beyond chance."
    given = ", ".join(f"{literal(name)} ({lost:.3f})" for name, lost in found["columns"].items())
    return (
        f"{text} (0.5: not at all). What gives them away, with the AUC lost when the column is "
        f"shuffled: {given}."
    )


def _sequence_lines(sequence: Mapping[str, Any], has_test: bool) -> Iterator[str]:
    name, bins = literal(sequence["column"]), pd.DataFrame(sequence["lengths"])
    empty = bins["train"].iloc[0] / max(1, bins["train"].sum())
    yield (
        f"{name} has {sequence['mean']['train']:,.1f} events on average (median "
        f"{sequence['median']:,.0f}, longest {sequence['longest']['train']:,}), of "
        f"{sequence['tokens']:,} different codes; {percent(empty)} of the train rows have none."
        + has_test
        * (
            f" In the test the average is {sequence['mean']['test']:,.1f}, and "
            f"{percent(sequence['unseen_test'])} of the events are unknown codes."
        )
    )
    again = sequence["in_train"]
    flattered = has_test and again["valid"] > _MET_AGAIN + 2 * again["test"]
    of_test = f", and {percent(again['test'])} of the test rows," * has_test
    yield (
        f"{percent(sequence['twice_in_train'])} of the train rows with {name} share it with "
        f"another train row; {percent(again['valid'])} of the validation rows{of_test} share it "
        f"with a train row."
        f"{f' {_FLATTERED}' * flattered}"
    )


def _columns_table(facts: Mapping[str, Any]) -> str:
    columns = pd.DataFrame(facts["columns"])
    shown: dict[str, tuple[str, Callable[[Any], str]]] = {
        "looks like": ("kind", str),
        "values": ("distinct", "{:,}".format),
        "missing": ("missing_train", percent),
        "in test": ("missing_test", percent),
        "low": ("low", "{:.4g}".format),
        "high": ("high", "{:.4g}".format),
        "middle": ("middle_share", "{:.2g}".format),
        "AUC": ("click_auc", "{:.3f}".format),
        "PSI valid": ("psi_valid", "{:.3f}".format),
        "PSI test": ("psi_test", "{:.3f}".format),
        "unseen": ("unseen_test", percent),
    }
    table = columns[["column"]].assign(
        **{
            heading: texts(columns[name], form)
            for heading, (name, form) in shown.items()
            if facts["rows"]["test"] or not name.endswith("_test")
        }
    )
    return f"{markdown_table(table)}\n{_TABLE}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(literal, names[:_NAMED])) + more
