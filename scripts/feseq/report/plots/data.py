"""Plots of the data page: click rates, missing values, lengths of sequences, drift."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ...describe.drift import MUCH_DRIFT, SOME_DRIFT
from ..page import percent, texts
from . import style
from .style import GREY, interval_panels, short

# The most columns with their click rates, and the most rows in charts of single columns.
_MOST_PANELS = 6
_MOST_ROWS = 25
TABLES = ["train", "valid", "test"]


def click_rates_plot(facts: Mapping[str, Any]) -> Figure:
    """The click rate along the raw file and by category, and which categories the test has."""
    panels = {}
    for panel in facts["click_rates"][:_MOST_PANELS]:
        values = pd.DataFrame(panel["values"])
        of_test = values["test_rows"].astype(float)
        shares = texts(of_test.where(of_test > 0) / of_test.sum(), lambda x: f" ({percent(x)})")
        names = values["value"].fillna("(missing)").map(lambda word: short(word, 24))
        title = panel["column"] or "place in the raw file, in twentieths"
        panels[title] = _rates(values, names + shares)
    title, note = (
        "Click rate along the file, and by category",
        "In brackets: share of the test rows.",
    )
    return _rates_plot(facts, panels, title, note)


def missing_plot(facts: Mapping[str, Any]) -> Figure:
    """Blocks of columns that are missing together: how often, and the click rate there."""
    blocks, sampled = facts["missing_blocks"][:_MOST_ROWS], facts["sampled_rows"]["train"]
    names = [
        f"{short(first, 24)}{f' and {len(others)} more' * bool(others)}   {percent(rows / sampled)}"
        for (first, *others), rows in ((block["columns"], block["rows"]) for block in blocks)
    ]
    panels = {"Columns": _rates(pd.DataFrame(blocks), names)} if blocks else {}
    note = f"Percentages: share of {sampled:,} sampled train rows; `missing` of model.numerics."
    return _rates_plot(facts, panels, "Values missing together, and the click rate there", note)


def lengths_plot(facts: Mapping[str, Any]) -> Figure:
    """How long sequences are in each table, and the click rate by length."""
    panels = {}
    for sequence in facts["sequences"]:
        bins = pd.DataFrame(sequence["lengths"])
        starts = [*bins["start"], np.inf]
        shares = bins[TABLES] / bins[TABLES].sum().clip(lower=1)
        names = [
            f"{a:,}{'+' if b == np.inf else f'-{b - 1:,}' * (a + 1 < b)}   "
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
    return pd.DataFrame({"name": names, "value": rate, "low": low, "high": high, "chance": 1.0})


def _rates_plot(
    facts: Mapping[str, Any], panels: Mapping[str, pd.DataFrame], title: str, note: str
) -> Figure:
    """Click rates, with that of train and validation rows as a dotted line."""
    overall = _rate(facts)
    notes = note, f"Bars: 95 % intervals. Dotted: {percent(overall)}, that of all rows."
    figure = interval_panels(facts, panels, title, *notes, middle=overall, label="click rate")
    if figure.axes:
        # Intervals of few rows may leave the frame.
        largest = max(table["value"].max() for table in panels.values())
        figure.axes[0].set_xlim(0, np.nanmax([2 * overall, 1.2 * largest, 1e-6]))
        figure.axes[0].xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def drift_plot(facts: Mapping[str, Any]) -> Figure:
    """The columns that have drifted most from train to the test, and how much to validation."""
    last = "test" if facts["rows"]["test"] else "valid"
    columns = pd.DataFrame(facts["columns"]).sort_values(
        f"psi_{last}", ascending=False, kind="stable"
    )[:_MOST_ROWS]
    smallest, values = 1e-4, columns[f"psi_{last}"]
    names = columns["column"].map(short) + texts(columns["psi_valid"], "   {:.3f}".format)
    rows = {"name": names, "value": values.clip(lower=smallest), "low": np.nan, "high": np.nan}
    figure = interval_panels(
        facts,
        {f"the {len(columns)} columns with the largest": pd.DataFrame(rows).assign(chance=1.0)},
        f"Drift from train to {last}: population stability index",
        f"Dotted: {SOME_DRIFT} and {MUCH_DRIFT}, from which one speaks of some and of much drift.",
        "Numbers: that of the validation rows, which a random split keeps low.",
        middle=SOME_DRIFT,
        label="population stability index",
    )
    figure.axes[0].axvline(MUCH_DRIFT, ls=":", color=GREY)
    style.log_axis(figure.axes[0], "x", smallest, max(1.0, values.max()))
    return figure


PLOTS = {
    "click_rates": click_rates_plot,
    "missing": missing_plot,
    "lengths": lengths_plot,
    "drift": drift_plot,
}


def _rate(facts: Mapping[str, Any]) -> float:
    """The click rate of train and validation rows."""
    return sum(facts["clicks"].values()) / sum(facts["rows"][name] for name in facts["clicks"])
