"""Figures of the data page: click rates, missing values, lengths of sequences, drift."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...describe.drift import MUCH_DRIFT, SOME_DRIFT
from .style import (
    BLUE,
    GREY,
    ROW,
    VERMILION,
    WIDTH,
    draw_intervals,
    draw_rows,
    log_axis,
    new_figure,
    only_text,
    percent,
    save,
    short,
    styled,
    wilson,
)

# The most columns with their click rates, and the most rows in charts of single columns.
_MOST_PANELS = 6
_MOST_ROWS = 25
TABLES = {"train": (GREY, "s"), "valid": (BLUE, "o"), "test": (VERMILION, "D")}


def plot_data(
    facts: Mapping[str, Any], click_rates: Path, missing: Path, lengths: Path, drift: Path
) -> None:
    """Draw the facts of `describe`."""
    save(click_rates_figure(facts), click_rates)
    save(missing_figure(facts), missing)
    save(lengths_figure(facts), lengths)
    save(drift_figure(facts), drift)


@styled
def click_rates_figure(facts: Mapping[str, Any]) -> Figure:
    """The click rate along the raw file and by category, and which categories the test has."""
    panels = facts["click_rates"][:_MOST_PANELS]
    across = 2 if len(panels) > 1 else 1
    down = -(-len(panels) // across)
    overall = _rate(facts)
    notes = [
        f"Train and validation rows with 95 % intervals; dotted: {percent(overall)}, all of them.",
        "Grey bars: how much of the test a category has; all of it would fill the frame.",
    ]
    figure = new_figure(
        WIDTH * (1 + across) / 2,
        2.3 * down + 1,
        "Click rate along the file, and by category",
        notes,
        simulated=facts["simulated_data"],
    )
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for ax, panel in zip(axes, panels):
        _draw_panel(ax, panel, overall)
    for ax in axes[len(panels) :]:
        ax.remove()
    return figure


def _draw_panel(ax: Axes, panel: Mapping[str, Any], overall: float) -> None:
    values = panel["values"]
    test_rows = [value["test_rows"] or 0 for value in values]
    if sum(test_rows):
        shares = np.array(test_rows) / sum(test_rows)
        # As a share of the frame's height.
        place = ax.get_xaxis_transform()
        ax.bar(range(len(values)), shares, color=GREY, alpha=0.25, transform=place)
    _draw_rates(ax, values, overall)
    if panel["column"] is None:
        ax.set_xlabel("place in the raw file, in twentieths")
        ax.set_xticks(range(0, len(values), 5), [value["value"] for value in values[::5]])
        return
    ax.set_xlabel(short(panel["column"]))
    step = 1 + len(values) // 12
    words = [_word(value["value"]) for value in values]
    are_long = max(map(len, words)) > 3
    ax.set_xticks(range(0, len(values), step), words[::step], rotation=30 if are_long else 0)


def _word(category: str | None) -> str:
    return "(missing)" if category is None else short(category.strip() or "(empty)", 12)


def _draw_rates(ax: Axes, entries: Sequence[Mapping[str, Any]], overall: float) -> None:
    """Click rates side by side, with 95 % intervals."""
    rows, clicks = (
        np.array([entry[key] for entry in entries], float) for key in ("rows", "clicks")
    )
    x = np.flatnonzero(rows)
    rows, clicks = rows[x], clicks[x]
    low, high = wilson(clicks, rows)
    ax.vlines(x, low, high, color=BLUE)
    ax.plot(x, clicks / rows, "o", color=BLUE)
    ax.axhline(overall, ls=":", color=GREY)
    # Intervals of few rows may leave the frame.
    top = max(2 * overall, 1.2 * (clicks / rows).max(initial=0))
    ax.set(ylabel="click rate", ylim=(0, max(top, 1e-6)), xlim=(-0.6, len(entries) - 0.4))
    ax.yaxis.set_major_formatter(PercentFormatter(1))


@styled
def missing_figure(facts: Mapping[str, Any]) -> Figure:
    """Blocks of columns that are missing together: how often, and the click rate there."""
    blocks = facts["missing_blocks"][:_MOST_ROWS]
    simulated = facts["simulated_data"]
    if not blocks:
        return only_text("No sampled train row lacks a value", simulated=simulated)
    overall = _rate(facts)
    notes = [
        f"{facts['sampled_rows']['train']:,} sampled train rows. A click rate far from the dotted "
        f"{percent(overall)} of all rows",
        "says that the block tells something: model.missing_flags.",
    ]
    height = len(blocks) * ROW + 1.6
    title = "Values missing together"
    figure = new_figure(WIDTH + 2, height, title, notes, simulated=simulated)
    shares, rates = figure.subplots(1, 2, sharey=True)
    draw_rows(shares, [_block_name(block["columns"]) for block in blocks])
    y = np.arange(len(blocks))
    rows, clicks = (np.array([block[key] for block in blocks], float) for key in ("rows", "clicks"))
    share = rows / facts["sampled_rows"]["train"]
    shares.barh(y, share, color=BLUE, height=0.6)
    log_axis(shares, "x", share.min() / 2, 1.0, lambda value, _: percent(value))
    shares.set_xlabel("share of the rows")
    values = np.column_stack([clicks / rows, *wilson(clicks, rows)])
    draw_intervals(rates, y.tolist(), values, "o", BLUE)
    rates.axvline(overall, ls=":", color=GREY)
    rates.xaxis.set_major_formatter(PercentFormatter(1))
    rates.xaxis.set_major_locator(MaxNLocator(5))
    rates.set_xlabel("click rate of these rows, with 95 % interval")
    return figure


def _block_name(columns: Sequence[str]) -> str:
    first = short(columns[0], 24)
    return first if len(columns) == 1 else f"{first} and {len(columns) - 1} more"


@styled
def lengths_figure(facts: Mapping[str, Any]) -> Figure:
    """How long sequences are in each table, and the click rate by length."""
    sequences = facts["sequences"]
    overall = _rate(facts)
    figure = new_figure(
        WIDTH + 2,
        2.6 * len(sequences) + 0.9,
        "Lengths of sequences",
        [f"Click rates of train and validation rows, 95 % intervals; dotted: {percent(overall)}."],
        simulated=facts["simulated_data"],
    )
    for (left, right), sequence in zip(
        figure.subplots(len(sequences), 2, squeeze=False), sequences
    ):
        bins = sequence["lengths"]
        last = max(i for i, entry in enumerate(bins) if any(entry["rows"].values()))
        bins = bins[: last + 1]
        x = np.arange(len(bins))
        for name, (colour, marker) in TABLES.items():
            rows = np.array([entry["rows"][name] for entry in bins])
            left.plot(x, rows / max(1, rows.sum()), marker, ls="-", color=colour, label=name)
        left.set(ylabel="share of the rows", ylim=(0, None))
        left.yaxis.set_major_formatter(PercentFormatter(1))
        left.legend()
        known = [{"rows": entry["known"], "clicks": entry["clicks"]} for entry in bins]
        _draw_rates(right, known, overall)
        for ax in (left, right):
            ax.set_xticks(x, _lengths([entry["from"] for entry in bins]), rotation=45)
            ax.set_xlabel(f"events of {short(sequence['column'])}")
    return figure


def _lengths(starts: Sequence[int]) -> list[str]:
    """0, 1, 2-4, ..., and the last one open."""
    names = [
        f"{start:,}" if start + 1 == stop else f"{start:,}-{stop - 1:,}"
        for start, stop in pairwise(starts)
    ]
    return [*names, f"{starts[-1]:,}+"]


@styled
def drift_figure(facts: Mapping[str, Any]) -> Figure:
    """The columns that have drifted most from train to the test, and how much to validation."""
    columns = sorted(facts["columns"], key=lambda column: -column["stability_index"]["test"])
    columns = columns[:_MOST_ROWS]
    notes = [
        f"Dotted: {SOME_DRIFT} and {MUCH_DRIFT}, from which one speaks of some and of much drift.",
        "A random split keeps validation at the left; the test may be elsewhere.",
    ]
    title = f"Drift from train: population stability index, the {len(columns)} largest in the test"
    height = len(columns) * ROW + 1.6
    figure = new_figure(WIDTH, height, title, notes, simulated=facts["simulated_data"])
    ax = figure.subplots()
    draw_rows(ax, [short(column["column"]) for column in columns])
    smallest = 1e-4
    for name in ("valid", "test"):
        colour, marker = TABLES[name]
        values = [max(smallest, column["stability_index"][name]) for column in columns]
        ax.plot(values, range(len(columns)), marker, color=colour, label=name)
    for bound in (SOME_DRIFT, MUCH_DRIFT):
        ax.axvline(bound, ls=":", color=GREY)
    log_axis(ax, "x", smallest, max([1.0, *(c["stability_index"]["test"] for c in columns)]))
    ax.set_xlabel("population stability index")
    figure.legend(loc="outside right upper")
    return figure


def _rate(facts: Mapping[str, Any]) -> float:
    """The click rate of train and validation rows."""
    return sum(facts["clicks"].values()) / sum(facts["rows"][name] for name in facts["clicks"])
