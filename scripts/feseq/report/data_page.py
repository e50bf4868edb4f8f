"""The data page: a description of the rows of one size, to read before any training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..common.errors import some_of
from ..common.files import Output, write_json
from ..describe.alarms import Alarm, warn_of
from ..describe.checks import alarms_of
from ..describe.columns import SAME
from ..describe.drift import MUCH_DRIFT, SOME_DRIFT
from ..describe.facts import describe
from .page import (
    SIMULATED,
    alarms_text,
    literal,
    markdown_table,
    percent,
    plots_text,
    texts,
    write_page,
)
from .plots import style
from .plots.style import GREY, interval_panels, save, short

# The most columns in a sentence, columns with their click rates, and rows in charts of columns.
_NAMED, _MOST_PANELS, _MOST_ROWS = 12, 6, 25
TABLES = ["train", "valid", "test"]
_SEQUENCES = """\
Events: the average of the rows. None: rows without events. Shared: of the rows with five events or
more, those whose events equal those of a train row, or for train rows, of another one. If far more
validation rows than test rows share theirs, metrics flatter a model that remembers users: name
the column of users in `columns.group`, or that of the time in `columns.time`.
"""
_COLUMNS = f"""\
Looks like: one value (constant) or none (empty) is useless; few values are levels rather than
measurements, and many integers are counts or IDs. For levels and IDs, try the role `context`, or
`model.numerics: [buckets]`. Values: the number of distinct values. Missing: of the train rows, and
of the test rows. Low and high: of all train rows. Middle: the share of this range that has the
middle 98 % of the values. AUC: how well the column alone ranks the train clicks. PSI: population
stability index from train; below {SOME_DRIFT} there is hardly any drift, from {MUCH_DRIFT} on much.
Unseen: test rows with a category that the model does not know.
"""


def describe_data(
    train: list[Path],
    valid: list[Path],
    test: list[Path],
    feature_map: Path,
    facts: Output,
    page: Output,
    view: Output,
    plots: list[Output],
    *,
    size: str,
    rows: int | None,
    scalings: list[str],
    threads: int,
) -> None:
    """Describe the `rows` of one size, None for all; write facts and alarms, page and plots."""
    content = describe(train, valid, test, feature_map, size=size, threads=threads)
    alarms = alarms_of(content, scalings, rows)
    write_data_page(content, alarms, plots, page, view)
    write_json(facts, {**content, "alarms": [asdict(alarm) for alarm in alarms]})
    warn_of(alarms, page)


def write_data_page(
    facts: Mapping[str, Any], alarms: Sequence[Alarm], plots: list[Path], page: Path, view: Path
) -> None:
    """Draw the `plots`, and write the page as Markdown and as HTML."""
    for path in plots:
        save(PLOTS[path.stem](facts), path)
    sections = [f"# Data of size {facts['size']}\n"]
    if facts["simulated_data"]:
        sections.append(SIMULATED)
    sections += ["## Alarms\n", alarms_text(alarms), "## Rows\n", _rows_table(facts)]
    if facts["sequences"]:
        sections += ["## Sequences\n", *map(_sequence_table, facts["sequences"]), _SEQUENCES]
    findings = [f"- {line}" for line in _findings(facts)]
    sections += ["## Missing, infinite or alike\n", *(findings or ["None."]), ""]
    sections += ["## Plots\n", plots_text(plots, page)]
    sections += ["## Columns\n", _columns_table(facts)]
    write_page("\n".join(sections), page, view)


def _rows_table(facts: Mapping[str, Any]) -> str:
    rows, clicks = pd.Series(facts["rows"]), pd.Series(facts["clicks"])
    cells = {
        "rows": rows[rows > 0].map("{:,}".format),
        "clicks": clicks.map("{:,}".format),
        "click rate": (clicks / rows).dropna().map(percent),
        "sample": pd.Series(facts["sampled_rows"]).map("{:,}".format),
        "adversarial AUC": pd.Series(facts["adversary"]).dropna().map(_adversary),
    }
    return (
        f"{_by_table(cells)}\nComparisons of columns use the sample, rows at equal distances. "
        f"Missing values, unseen categories, click rates and lengths are of all rows. The "
        f"adversarial AUC says how well boosting separates rows from train rows; 0.5 is not at "
        f"all. In brackets: what it loses when a column is shuffled.\n"
    )


def _sequence_table(sequence: Mapping[str, Any]) -> str:
    lengths = pd.DataFrame(sequence["lengths"])[TABLES]
    rows = lengths.sum()
    cells = {
        "events": pd.Series(sequence["mean"])[rows > 0].map("{:,.1f}".format),
        "longest": pd.Series(sequence["longest"]).map("{:,}".format),
        "none": (lengths.iloc[0] / rows).map(percent),
        "shared": pd.Series({"train": sequence["twice_in_train"], **sequence["in_train"]}).map(
            percent
        ),
        "unknown codes": pd.Series({"test": sequence["unseen_test"]}).dropna().map(percent),
    }
    return f"### {literal(sequence['column'])}, {sequence['tokens']:,} codes\n\n{_by_table(cells)}"


def _by_table(cells: Mapping[str, pd.Series]) -> str:
    """A Markdown table with a row for each table of the first column."""
    table = pd.DataFrame(cells).loc[next(iter(cells.values())).index].fillna("")
    return markdown_table(table.rename_axis("table").reset_index())


def _adversary(entry: Mapping[str, Any]) -> str:
    losses = [f"{name} {lost:.3f}" for name, lost in entry["columns"].items()]
    by = ", ".join(losses) if entry["is_significant"] else "not significant"
    return f"{entry['auc']:.3f} ({by})"


def _findings(facts: Mapping[str, Any]) -> Iterator[str]:
    """Findings to know before training, one line each."""
    for block in facts["missing_blocks"][:3]:
        share = percent(block["rows"] / facts["sampled_rows"]["train"])
        rate = percent(block["clicks"] / block["rows"])
        yield f"Missing in {share} of the rows, with {rate} clicks: {_names(block['columns'])}."
    infinite = [entry["column"] for entry in facts["columns"] if entry["infinite"]]
    if infinite:
        yield f"Infinite values: {_names(infinite)}."
    for group in facts["alike"]:
        yield (
            f"Equal, or with a rank correlation of {SAME} or more: {_names(group)}. One of them is "
            f"enough."
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
    return some_of([*map(literal, names)], _NAMED)


def click_rates_plot(facts: Mapping[str, Any]) -> Figure:
    """The click rate along the raw file and by category, and the test's share of each category."""
    panels = {}
    for panel in facts["click_rates"][:_MOST_PANELS]:
        values = pd.DataFrame(panel["values"])
        rows = values["test_rows"].astype(float)
        shares = texts(rows.where(rows > 0) / rows.sum(), lambda x: f" ({percent(x)})")
        names = values["value"].fillna("(missing)").map(lambda word: short(word, 24))
        title = panel["column"] or "place in the raw file, in twentieths"
        panels[title] = _rates(values, names + shares)
    title, note = (
        "Click rate along the file, and by category",
        "In brackets: share of the test rows.",
    )
    return _rates_plot(facts, panels, title, note)


def missing_plot(facts: Mapping[str, Any]) -> Figure:
    """The click rates where blocks of columns are missing together, and how often they are."""
    blocks, sampled = facts["missing_blocks"][:_MOST_ROWS], facts["sampled_rows"]["train"]
    names = []
    for block in blocks:
        columns = some_of([short(name, 24) for name in block["columns"]], 1)
        names.append(f"{columns}   {percent(block['rows'] / sampled)}")
    panels = {"Columns": _rates(pd.DataFrame(blocks), names)} if blocks else {}
    note = f"Percentages: share of {sampled:,} sampled train rows; `missing` of model.numerics."
    return _rates_plot(facts, panels, "Values missing together, and the click rate there", note)


def lengths_plot(facts: Mapping[str, Any]) -> Figure:
    """The click rate by the length of sequences, and the share of each length in each table."""
    panels = {}
    for sequence in facts["sequences"]:
        bins = pd.DataFrame(sequence["lengths"])
        starts = [*bins["start"], np.inf]
        shares = bins[TABLES] / bins[TABLES].sum().clip(lower=1)
        names = [
            f"{a:,}{'+' if b == np.inf else f'-{b - 1:,}' if a + 1 < b else ''}   "
            f"({', '.join(map(percent, row))})"
            for (a, b), row in zip(pairwise(starts), shares.to_numpy())
        ]
        longest = int(np.flatnonzero(shares.any(axis=1))[-1])
        panels[f"events of {sequence['column']}"] = _rates(bins, names)[: longest + 1]
    title, note = (
        "Lengths of sequences",
        "In brackets: share of the train, validation and test rows.",
    )
    return _rates_plot(facts, panels, title, note)


def _rates(entries: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Click rates with 95 % intervals, as `interval_panels` takes them."""
    rows = entries["rows"].where(entries["rows"] > 0)
    low, high = style.rate_interval(entries["clicks"], rows)
    rate = entries["clicks"] / rows
    return pd.DataFrame({"name": names, "value": rate, "low": low, "high": high, "p_value": 1.0})


def _rates_plot(
    facts: Mapping[str, Any], panels: Mapping[str, pd.DataFrame], title: str, note: str
) -> Figure:
    """Click rates, with a dotted line at that of train and validation rows."""
    overall = _rate(facts)
    notes = note, f"Bars: 95 % intervals. Dotted: {percent(overall)}, that of all rows."
    figure = interval_panels(facts, panels, title, *notes, middle=overall, label="click rate")
    if figure.axes:
        # The intervals of few rows may exceed the frame.
        largest = max(table["value"].max() for table in panels.values())
        figure.axes[0].set_xlim(0, np.nanmax([2 * overall, 1.2 * largest, 1e-6]))
        figure.axes[0].xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def drift_plot(facts: Mapping[str, Any]) -> Figure:
    """The columns that drifted most from train to test, and their drift to validation."""
    last = "test" if facts["rows"]["test"] else "valid"
    columns = pd.DataFrame(facts["columns"]).sort_values(
        f"psi_{last}", ascending=False, kind="stable"
    )[:_MOST_ROWS]
    smallest, values = 1e-4, columns[f"psi_{last}"]
    names = columns["column"].map(short) + texts(columns["psi_valid"], "   {:.3f}".format)
    rows = {"name": names, "value": values.clip(lower=smallest), "low": np.nan, "high": np.nan}
    figure = interval_panels(
        facts,
        {f"the {len(columns)} columns with the largest": pd.DataFrame(rows).assign(p_value=1.0)},
        f"Drift from train to {last}: population stability index",
        f"Dotted: {SOME_DRIFT} and {MUCH_DRIFT}, where some and much drift begin.",
        "Numbers: that of the validation rows, which a random split keeps low.",
        middle=SOME_DRIFT,
        label="population stability index",
    )
    figure.axes[0].axvline(MUCH_DRIFT, ls=":", color=GREY)
    style.log_axis(figure.axes[0], "x", smallest, max(1.0, values.max()))
    return figure


def _rate(facts: Mapping[str, Any]) -> float:
    """The click rate of train and validation rows."""
    return sum(facts["clicks"].values()) / sum(facts["rows"][name] for name in facts["clicks"])


PLOTS = {
    "click_rates": click_rates_plot,
    "missing": missing_plot,
    "lengths": lengths_plot,
    "drift": drift_plot,
}
