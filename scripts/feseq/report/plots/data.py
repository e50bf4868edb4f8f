"""Plots of the data page: click rates, missing values, lengths of sequences, drift."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ...describe.drift import MUCH_DRIFT, SOME_DRIFT
from ..page import percent
from . import style
from .style import BLUE, GREY, ROW, VERMILION, WIDTH, new_plot, short

# The most columns with their click rates, and the most rows in charts of single columns.
_MOST_PANELS = 6
_MOST_ROWS = 25
TABLES = {"train": (GREY, "s"), "valid": (BLUE, "o"), "test": (VERMILION, "D")}


def click_rates_plot(facts: Mapping[str, Any]) -> Figure:
    """The click rate along the raw file and by category, and which categories the test has."""
    drawn = facts["click_rates"][:_MOST_PANELS]
    across = min(2, len(drawn))
    down = -(-len(drawn) // across)
    overall = _rate(facts)
    notes = (
        f"Train and validation rows with 95 % intervals; dotted: {percent(overall)}, all of them.",
        "Grey bars: how much of the test a category has; all of it would fill the frame.",
    )
    title, width = "Click rate along the file, and by category", WIDTH * (1 + across) / 2
    figure = new_plot(facts, width, 2.3 * down + 1, title, *notes)
    panels = figure.subplots(down, across, squeeze=False).flat
    for panel, ax in zip(drawn, panels):
        values = pd.DataFrame(panel["values"])
        test = values["test_rows"].fillna(0).astype(float)
        # As a share of the frame's height.
        place = ax.get_xaxis_transform()
        ax.bar(values.index, test / max(1, test.sum()), color=GREY, alpha=0.25, transform=place)
        _draw_rates(ax, values, overall)
        ax.set_xlabel(short(panel["column"] or "place in the raw file, in twentieths"))
        step = 1 + len(values) // 12
        words = values["value"].fillna("(missing)").map(lambda word: short(word, 12))[::step]
        ax.set_xticks(words.index, words, rotation=30 if words.str.len().max() > 3 else 0)
    for ax in list(panels):
        ax.remove()
    return figure


def _draw_rates(ax: Axes, entries: pd.DataFrame, overall: float) -> None:
    """Click rates side by side, with 95 % intervals."""
    known = entries[entries["rows"] > 0]
    rate = known["clicks"] / known["rows"]
    ax.vlines(known.index, *style.rate_interval(known["clicks"], known["rows"]), color=BLUE)
    ax.plot(known.index, rate, "o", color=BLUE)
    ax.axhline(overall, ls=":", color=GREY)
    # Intervals of few rows may leave the frame.
    top = max(2 * overall, 1.2 * rate.max() if len(rate) else 0, 1e-6)
    ax.set(ylabel="click rate", ylim=(0, top), xlim=(-0.6, len(entries) - 0.4))
    ax.yaxis.set_major_formatter(PercentFormatter(1))


def missing_plot(facts: Mapping[str, Any]) -> Figure:
    """Blocks of columns that are missing together: how often, and the click rate there."""
    blocks = pd.DataFrame(facts["missing_blocks"][:_MOST_ROWS])
    sampled, overall = facts["sampled_rows"]["train"], _rate(facts)
    if blocks.empty:
        return new_plot(facts, WIDTH, 1.2, "No sampled train row lacks a value")
    figure = new_plot(
        facts,
        WIDTH,
        len(blocks) * ROW + 1.6,
        "Values missing together",
        f"Share of {sampled:,} sampled train rows. A click rate far from the dotted "
        f"{percent(overall)} of all rows",
        "says that the block tells something: `missing` of model.numerics.",
    )
    ax = figure.subplots()
    names = [
        f"{short(first, 24)}{f' and {len(others)} more' * bool(others)}   {percent(rows / sampled)}"
        for (first, *others), rows in zip(blocks["columns"], blocks["rows"])
    ]
    low, high = style.rate_interval(blocks["clicks"], blocks["rows"])
    rates = blocks.assign(value=blocks["clicks"] / blocks["rows"], low=low, high=high)
    label = "click rate of these rows, with 95 % interval"
    style.draw_intervals(ax, rates.assign(name=names, chance=1.0), overall, label)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def lengths_plot(facts: Mapping[str, Any]) -> Figure:
    """How long sequences are in each table, and the click rate by length."""
    sequences, overall = facts["sequences"], _rate(facts)
    if not sequences:
        return new_plot(facts, WIDTH, 1.2, "There are no sequences")
    note = f"Click rates of train and validation rows, 95 % intervals; dotted: {percent(overall)}."
    title, height = "Lengths of sequences", 2.6 * len(sequences) + 0.9
    figure = new_plot(facts, WIDTH + 2, height, title, note)
    panels = figure.subplots(len(sequences), 2, squeeze=False)
    for (left, right), sequence in zip(panels, sequences):
        bins = pd.DataFrame(sequence["lengths"])
        bins = bins[: int(np.flatnonzero(bins[list(TABLES)].any(axis=1))[-1]) + 1]
        for name, (colour, marker) in TABLES.items():
            share = bins[name] / max(1, bins[name].sum())
            left.plot(bins.index, share, marker, ls="-", color=colour, label=name)
        left.set(ylabel="share of the rows", ylim=(0, None))
        left.yaxis.set_major_formatter(PercentFormatter(1))
        left.legend()
        _draw_rates(right, bins, overall)
        starts = bins["start"].tolist()
        names = [f"{a:,}" + f"-{b - 1:,}" * (a + 1 < b) for a, b in pairwise(starts)]
        for ax in (left, right):
            ax.set_xticks(bins.index, [*names, f"{starts[-1]:,}+"], rotation=45)
            ax.set_xlabel(f"events of {short(sequence['column'])}")
    return figure


def drift_plot(facts: Mapping[str, Any]) -> Figure:
    """The columns that have drifted most from train to the test, and how much to validation."""
    columns = pd.DataFrame(facts["columns"])
    others = ["valid", "test"] if facts["rows"]["test"] else ["valid"]
    where = "; the test may be elsewhere" * (len(others) > 1)
    indices = columns.sort_values(f"psi_{others[-1]}", ascending=False, kind="stable")[:_MOST_ROWS]
    figure = new_plot(
        facts,
        WIDTH,
        len(indices) * ROW + 1.6,
        f"Drift from train: population stability index, the {len(indices)} largest in {others[-1]}",
        f"Dotted: {SOME_DRIFT} and {MUCH_DRIFT}, from which one speaks of some and of much drift.",
        f"A random split keeps validation at the left{where}.",
    )
    ax = figure.subplots()
    style.draw_rows(ax, list(indices["column"].map(short)))
    smallest = 1e-4
    for name in others:
        colour, marker = TABLES[name]
        values = indices[f"psi_{name}"].clip(lower=smallest)
        ax.plot(values, range(len(values)), marker, color=colour, label=name)
    for bound in (SOME_DRIFT, MUCH_DRIFT):
        ax.axvline(bound, ls=":", color=GREY)
    style.log_axis(ax, "x", smallest, max(1.0, indices[f"psi_{others[-1]}"].max()))
    ax.set_xlabel("population stability index")
    figure.legend(loc="outside right upper")
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
