"""Where a model looks: attention among fields, and over the positions of the history."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...common.errors import UserError
from ...common.files import read_json
from ...config.names import folder_name
from .style import BLUE, GREY, VERMILION, WIDTH, log_axis, new_figure, percent, save, short, styled

# Positions that fewer of the rows have are drawn grey: their means leap.
THIN_SHARE = 0.01
# From here on, positions and weights are drawn on logarithmic axes.
MANY_POSITIONS = 50
WIDE_RATIO = 30
NEWEST = 10


def plot_attention(attention: Path, training: Path | None, figure: Path) -> None:
    """Draw attention.json; `training`, a JSON file of the model, says if the data are simulated.

    Raises UserError where the model has no attention of either kind.
    """
    content = read_json(attention)
    if content["field_attention"] is None and content["positions"] is None:
        raise UserError(
            f"{attention}: this model has no attention to draw; field attention needs "
            f"model.interaction: autoint, attention over positions model.pooling: weighted_sum"
        )
    simulated = training is not None and bool(read_json(training)["simulated_data"])
    save(attention_figure(content, folder_name(attention), simulated=simulated), figure)


@styled
def attention_figure(attention: dict[str, Any], model: str, *, simulated: bool) -> Figure:
    """A model's attention field by field, and in its pooling by position, whichever there is."""
    weights, positions = attention["field_attention"], attention["positions"]
    fields = [short(name, 28) for name in attention["fields"]]
    side = 0.5 * len(fields) + 2 if weights is not None else 0
    heights = [*[side] * (weights is not None), *[3.2] * bool(positions)]
    title = f"{short(model)}\nMean attention over {attention['rows']:,} validation rows"
    figure = new_figure(max(WIDTH, side + 1.5), sum(heights) + 1, title, simulated=simulated)
    panels = list(figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    if weights is not None:
        _draw_fields(panels[0], np.array(weights, dtype=float), fields)
    if positions:
        table = pd.DataFrame(positions).sort_values("position")
        _draw_positions(panels[-1], table, attention["rows"])
    return figure


def _draw_fields(ax: Axes, weights: np.ndarray, fields: list[str]) -> None:
    """A heat map with its values; row: the field that asks."""
    most = float(np.nanmax(weights))
    ax.pcolormesh(weights, cmap="Blues", vmin=0, vmax=most, edgecolors="white")
    for (row, column), value in np.ndenumerate(weights):
        colour = "white" if value > 0.6 * most else "black"
        ax.text(column + 0.5, row + 0.5, f"{value:.2f}", color=colour, ha="center", va="center")
    middle = np.arange(len(fields)) + 0.5
    ax.set_xticks(middle, fields, rotation=90)
    ax.set_yticks(middle, fields)
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set(xlabel="field looked at", ylabel="field that asks")
    ax.set_title(f"Rows sum to 1; shared evenly, a cell has {1 / len(fields):.2f}", fontsize=10)


def _draw_positions(ax: Axes, positions: pd.DataFrame, rows: int) -> None:
    """Weights by position, newest first; the target's, position 0, as a line across."""
    is_target = positions["position"] == 0
    is_newest = positions["position"].between(1, NEWEST)
    target, events = positions["weight"][is_target].iloc[0], positions[~is_target]
    share = positions["weight"] * positions["rows"] / (positions["weight"] @ positions["rows"])
    on_target, on_newest = (percent(share[to].sum()) for to in (is_target, is_newest))
    name = f"target: {on_target} of all weight"
    ax.axhline(target, color=VERMILION, linestyle="--", label=name)
    common = f"events: {on_newest} on the {NEWEST} newest"
    thin = events["rows"] < THIN_SHARE * rows
    for drawn, colour, name in (
        (events, GREY, f"events that less than {percent(THIN_SHARE)} of the rows have"),
        (events[~thin], BLUE, common),
    ):
        if len(drawn) and (thin.any() or name == common):
            ax.plot(drawn["position"], drawn["weight"], ".-", color=colour, label=name)
    last = max(1, positions["position"].max())
    if last > MANY_POSITIONS:
        log_axis(ax, "x", 1, last)
    else:
        ax.set_xlim(0.5, last + 0.5)
    low, high = positions["weight"].min(), positions["weight"].max()
    if 0 < WIDE_RATIO * low < high:
        log_axis(ax, "y", low, high)
    else:
        ax.set_ylim(0, 1.1 * high or 1)
    ax.set(xlabel="position, from the newest event (1) to older ones", ylabel="mean attention")
    ax.legend()
