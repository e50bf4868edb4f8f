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
from .plots.data import PLOTS, TABLES
from .plots.style import save

# Columns in a sentence.
_NAMED = 12
_TRY = "try them as `context` columns, or `model.numerics: [buckets]`"
_LOOKS = {
    "constant": "Numeric columns with one value, which tell nothing",
    "empty": "Numeric columns without a value",
    "levels": f"Numeric columns with few values, levels rather than measurements; {_TRY}",
    "whole": f"Whole numbers with many values, counts or IDs; for IDs, {_TRY}",
}
# What a reader learns from each plot.
_PLOTS = {
    "click_rates": "Whether clicks depend on the place in the file, which tells of its order in "
    "time, or on a category, and which of the categories the test rows have.",
    "missing": "Which columns are missing together, how often, and whether that tells of clicks.",
    "lengths": "Whether sequences are as long in all tables, and whether length tells of clicks.",
    "drift": "Which columns the test rows have other values in, and whether the validation rows "
    "show it: where they do not, their metrics flatter.",
}
_SEQUENCES = """\
Events: on average, and at most. None: rows without events. Shared: of the rows with five events or
more, those that have them in common with a train row, train rows with another one. If far more
validation rows than test rows share theirs, metrics flatter a model that remembers users, and
`sampling.split` can hold out whole users or the newest rows.
"""
_COLUMNS = f"""\
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
    if facts["sequences"]:
        parts += ["## Sequences\n", *map(_sequence_table, facts["sequences"]), _SEQUENCES]
    parts += ["## What stands out\n", "\n".join(f"- {line}" for line in _findings(facts)), ""]
    parts.append("## Plots\n")
    for path in plots:
        place = os.path.relpath(path, page.parent)
        parts.append(f"{_PLOTS[path.stem]}\n\n![{path.stem}]({place})\n")
    parts += ["## Columns\n", _columns_table(facts)]
    write_page("\n".join(parts), page, view)


def _rows_table(facts: Mapping[str, Any]) -> str:
    rows, clicks = pd.Series(facts["rows"]), pd.Series(facts["clicks"])
    cells = {
        "rows": rows[rows > 0].map("{:,}".format),
        "clicks": clicks.map("{:,}".format),
        "click rate": (clicks / rows).dropna().map(percent),
        "sample": pd.Series(facts["sampled_rows"]).map("{:,}".format),
    }
    return (
        f"{_by_table(cells)}\nWhat compares columns is from the sample, rows at equal distances. "
        f"Missing values, unseen categories, click rates and lengths are of all rows.\n"
    )


def _sequence_table(sequence: Mapping[str, Any]) -> str:
    lengths = pd.DataFrame(sequence["lengths"])[list(TABLES)]
    rows = lengths.sum()
    cells = {
        "events": pd.Series(sequence["mean"])[rows > 0].map("{:,.1f}".format),
        "longest": pd.Series(sequence["longest"]).map("{:,}".format),
        "none": (lengths.iloc[0] / rows).map(percent),
        "shared": pd.Series({"train": sequence["twice_in_train"], **sequence["in_train"]}).map(
            percent
        ),
        "unknown codes": pd.Series({"test": percent(sequence["unseen_test"])}),
    }
    return f"### {literal(sequence['column'])}, {sequence['tokens']:,} codes\n\n{_by_table(cells)}"


def _by_table(cells: Mapping[str, pd.Series]) -> str:
    """A row for each table of the first column."""
    table = pd.DataFrame(cells).loc[next(iter(cells.values())).index].fillna("")
    return markdown_table(table.rename_axis("table").reset_index())


def _findings(facts: Mapping[str, Any]) -> Iterator[str]:
    """What a reader should know before training, one line each."""
    for name, what in (("test", "test"), ("valid", "validation")):
        if facts["rows"][name]:
            yield _adversary_line(facts["adversary"][name], what)
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
    return f"{markdown_table(table)}\n{_COLUMNS}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(literal, names[:_NAMED])) + more
