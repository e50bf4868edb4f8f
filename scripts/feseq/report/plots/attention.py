"""Where a model looks: attention among fields, and over the positions of the history."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from ...common.errors import UserError
from ...common.files import read_json
from ...config.names import folder_name
from ..page import percent
from .style import BLUE, GREY, VERMILION, WIDTH, log_axis, new_plot, save, short, styled

# Positions that fewer of the rows have are drawn grey: their means leap.
THIN_SHARE = 0.01
NEWEST = 10


def plot_attention(attention: Path, training: Path | None, plot: Path) -> None:
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
    save(attention_plot(content, folder_name(attention), simulated=simulated), plot)


@styled
def attention_plot(attention: dict[str, Any], model: str, *, simulated: bool) -> Figure:
    """A model's attention field by field, and in its pooling by position, whichever there is."""
    weights, positions = attention["field_attention"], attention["positions"]
    fields = [short(name, 28) for name in attention["fields"]]
    side = 0.5 * len(fields) + 2 if weights is not None else 0
    heights = [*[side] * (weights is not None), *[3.2] * bool(positions)]
    title = f"{short(model)}\nMean attention over {attention['rows']:,} validation rows"
    figure = new_plot(max(WIDTH, side + 1.5), sum(heights) + 1, title, simulated=simulated)
    panels = list(figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    if weights is not None:
        display = ConfusionMatrixDisplay(np.array(weights, float), display_labels=fields)
        display.plot(
            cmap="Blues", ax=panels[0], values_format=".2f", colorbar=False, xticks_rotation=90
        )
        panels[0].grid(visible=False)
        panels[0].set(xlabel="field looked at", ylabel="field that looks")
        even = f"Rows sum to 1; shared evenly, a cell has {1 / len(fields):.2f}"
        panels[0].set_title(even, fontsize=10)
    if positions:
        _draw_positions(panels[-1], pd.DataFrame(positions), attention["rows"])
    return figure


def _draw_positions(ax: Axes, positions: pd.DataFrame, rows: int) -> None:
    """Weights by position, newest first; the target's, position 0, as a line across."""
    is_target, is_newest = (positions["position"].between(*ends) for ends in ((0, 0), (1, NEWEST)))
    target, events = positions["weight"][is_target].iloc[0], positions[~is_target]
    share = positions["weight"] * positions["rows"] / (positions["weight"] @ positions["rows"])
    on_target, on_newest = (percent(share[to].sum()) for to in (is_target, is_newest))
    ax.axhline(target, color=VERMILION, ls="--", label=f"target: {on_target} of all weight")
    few = f"events that less than {percent(THIN_SHARE)} of the rows have"
    ax.plot(events["position"], events["weight"], ".-", color=GREY, label=few)
    common = events[events["rows"] >= THIN_SHARE * rows]
    newest = f"events: {on_newest} on the {NEWEST} newest"
    ax.plot(common["position"], common["weight"], ".-", color=BLUE, label=newest)
    log_axis(ax, "x", 1, max(1, positions["position"].max()))
    low, high = positions["weight"].min(), positions["weight"].max()
    if 0 < 30 * low < high:
        log_axis(ax, "y", low, high)
    else:
        ax.set_ylim(bottom=0)
    ax.set(xlabel="position, from the newest event (1) to older ones", ylabel="mean attention")
    ax.legend()
