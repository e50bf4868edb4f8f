"""What a model's AUC rests on: how much of it each change of the rows takes away."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...common.files import read_json
from ...evaluate.auc import LEAST_CLICKS, SIGNIFICANCE
from .style import (
    BLUE,
    GREY,
    ROW,
    VERMILION,
    WIDTH,
    draw_intervals,
    draw_rows,
    interval,
    new_figure,
    save,
    short,
    styled,
    with_interval,
)

MOST_COLUMNS = 20


def plot_importance(importance: Path, figure: Path) -> None:
    """Draw importance.json."""
    save(importance_figure(read_json(importance)), figure)


@styled
def importance_figure(found: dict[str, Any]) -> Figure:
    """The AUC lost by each change of the history, and by the columns that cost most."""
    columns, histories = found["columns"], found["histories"]
    shown = columns[:MOST_COLUMNS]
    heights = [len(histories) + 2, len(shown) + 2]
    auc = with_interval(interval(found["auc"]))
    title = (
        f"{short(found['full_name'] or 'a model')}\nWhat its AUC of {auc} loses by a change"
        f"\n{found['clicks']:,} clicks in {found['rows']:,} validation rows"
    )
    notes = [
        f"Bars: 95 % intervals. Red: more than chance, among {len(columns) + len(histories)} "
        f"changes.",
        "A column is given the values of other rows.",
        f"Hollow: fewer than {LEAST_CLICKS} clicks, which tell nothing.",
    ]
    simulated = bool(found["simulated_data"])
    figure = new_figure(WIDTH, sum(heights) * ROW + 1.6, title, notes, simulated=simulated)
    panels = figure.subplots(2, 1, height_ratios=heights, sharex=True)
    of_all = (
        f"The {len(shown)} of {len(columns)} columns that cost most"
        if len(shown) < len(columns)
        else "Columns"
    )
    for ax, entries, name in (
        (panels[0], histories, "The history"),
        (panels[1], shown, of_all),
    ):
        ax.set_title(name, loc="left", fontsize="medium")
        ax.axvline(0, color=GREY, linestyle=":")
        _draw_losses(ax, entries)
        ax.tick_params(labelbottom=True)
    panels[1].set_xlabel("AUC lost")
    return figure


def _draw_losses(ax: Axes, entries: list[dict[str, Any]]) -> None:
    draw_rows(ax, [short(entry["changed"]) for entry in entries])
    lost = [entry["auc_lost"] for entry in entries]
    values = np.array([interval(entry) for entry in lost], float).reshape(-1, 3)
    chance = np.array([np.nan if entry["chance"] is None else entry["chance"] for entry in lost])
    sure, few = chance < SIGNIFICANCE, np.isnan(chance)
    for rows, colour, face in (
        (sure, VERMILION, None),
        (~sure & ~few, BLUE, None),
        (few, GREY, "none"),
    ):
        if rows.any():
            draw_intervals(ax, np.flatnonzero(rows).tolist(), values[rows], "o", colour, face=face)
