"""What a model's AUC rests on: how much of it each change of the rows takes away."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ...common.files import read_json
from ..page import with_interval
from .style import (
    GREY,
    ROW,
    SIGNIFICANT,
    WIDTH,
    draw_intervals,
    draw_rows,
    new_plot,
    save,
    short,
    styled,
)

MOST_COLUMNS = 20


def plot_importance(importance: Path, plot: Path) -> None:
    """Draw importance.json."""
    save(importance_plot(read_json(importance)), plot)


@styled
def importance_plot(found: dict[str, Any]) -> Figure:
    """The AUC lost by each change of the history, and by the columns that cost most."""
    columns, histories = found["columns"], found["histories"]
    shown = columns[:MOST_COLUMNS]
    heights = [len(histories) + 2, len(shown) + 2]
    title = (
        f"{short(found['full_name'] or 'a model')}\n"
        f"What its AUC of {with_interval(found['auc'], 3)} loses by a change\n"
        f"{found['clicks']:,} clicks in {found['rows']:,} validation rows"
    )
    figure = new_plot(
        WIDTH,
        sum(heights) * ROW + 1.6,
        title,
        SIGNIFICANT,
        "A column is given the values of other rows.",
        simulated=bool(found["simulated_data"]),
    )
    panels = figure.subplots(2, 1, height_ratios=heights, sharex=True)
    name = f"Columns, the {len(shown)} of {len(columns)} that cost most"
    for ax, entries, title in zip(panels, (histories, shown), ("The history", name)):
        ax.set_title(title, loc="left", fontsize="medium")
        ax.axvline(0, color=GREY, linestyle=":")
        draw_rows(ax, [short(entry["changed"]) for entry in entries])
        columns = ["value", "low", "high", "chance"]
        draw_intervals(ax, pd.DataFrame([e["auc_lost"] for e in entries], columns=columns))
        ax.tick_params(labelbottom=True)
    panels[1].set_xlabel("AUC lost")
    return figure
