"""Where a model looks: attention among fields, and over the positions of the history."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ...common.errors import UserError
from ...common.files import read_json
from .drawing import (
    BLUE,
    LIGHT,
    TEXT_POINTS,
    VERMILION,
    WIDTH,
    fitted,
    frame,
    inches,
    log_ticks,
    new_figure,
    percent,
    save,
    styled,
)

CELL = 0.56  # inches of a field, at the least
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
    save(attention_figure(content, simulated=simulated), figure)


@styled
def attention_figure(attention: dict[str, Any], *, simulated: bool) -> Figure:
    """Attention field by field, and pooling attention by position, whichever there is."""
    weights, positions = attention["field_attention"], attention["positions"]
    fields = [fitted(name, 2.2) for name in attention["fields"]]
    longest = max((inches(name, TEXT_POINTS) for name in fields), default=0)
    heights, width, titles, notes = [], WIDTH, [], []
    if weights is not None:
        heights.append(len(fields) * CELL + longest + 0.8)
        width = max(WIDTH, len(fields) * CELL + longest + 1)
        titles.append(f"Fields look most at {fields[int(np.nanmean(weights, axis=0).argmax())]}")
        notes.append(f"Rows sum to 1; shared evenly, each cell would be {1 / len(fields):.2f}.")
    if positions:
        heights.append(3.4)
        titles.append(_shares(positions))
    figure = new_figure(width, sum(heights) + 1.3)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[1, 6])
    if weights is not None:
        _draw_fields(figure.add_subplot(grid[0, :]), np.array(weights, dtype=float), fields)
    if positions:
        target = figure.add_subplot(grid[-1, 0])
        events = figure.add_subplot(grid[-1, 1], sharey=target)
        notes += _draw_positions(target, events, positions, attention["rows"])
    title = "; ".join(titles)
    frame(figure, title[0].upper() + title[1:], notes, simulated=simulated)
    return figure


def _draw_fields(ax: Axes, weights: np.ndarray, fields: list[str]) -> None:
    """A heat map with its values; row: the field that asks."""
    count = len(fields)
    most = float(np.nanmax(weights))
    ax.pcolormesh(weights, cmap="Blues", vmin=0, vmax=most, edgecolors="white", linewidth=1.5)
    for row, column in np.ndindex(count, count):
        value = weights[row, column]
        ax.text(
            column + 0.5,
            row + 0.5,
            f"{value:.2f}",
            ha="center",
            va="center",
            color="white" if value > 0.6 * most else "black",
        )
    ax.set_ylim(count, 0)
    longest = max(inches(name, TEXT_POINTS) for name in fields)
    figure = ax.get_figure(root=True)
    assert figure is not None
    cell = (figure.get_figwidth() - longest - 1) / count
    ax.set_xticks(np.arange(count) + 0.5, fields, rotation=90 if longest > 0.9 * cell else 0)
    ax.set_yticks(np.arange(count) + 0.5, fields)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="field looked at", ylabel="field that asks")


def _draw_positions(
    target: Axes, events: Axes, positions: list[dict[str, Any]], rows: int
) -> list[str]:
    """The target's weight apart, then the events', newest first; returns what is to be noted."""
    place, weight, having = _columns(positions)
    thin = having < THIN_SHARE * rows
    marker = "o" if len(place) <= MANY_POSITIONS else ""
    target.plot(place[place == 0], weight[place == 0], "D", color=VERMILION, markersize=9)
    past = place > 0
    for hidden, colour in ((~past, LIGHT), (~past | thin, BLUE)):
        events.plot(place[~hidden], weight[~hidden], marker=marker, color=colour, markersize=5)
    if not past.any():
        events.text(0.5, 0.5, "no events", transform=events.transAxes, ha="center")
    for ax in (target, events):
        ax.grid(axis="y")
    target.set_xticks([0], ["target"])
    target.set(xlim=(-1, 1), ylabel="mean attention")
    events.set_xlabel("position, from the newest event (1) to older ones")
    events.tick_params(axis="y", labelleft=False, length=0)
    events.spines["left"].set_visible(False)
    last = place.max()
    if last > MANY_POSITIONS:
        events.set(xscale="log", xlim=(0.9, 1.1 * last))
        events.xaxis.set_major_locator(FixedLocator(log_ticks(1, last)))
        events.xaxis.set_minor_locator(NullLocator())
        events.xaxis.set_major_formatter("{x:,g}")
    else:
        step = next(step for step in (1, 2, 5, 10) if last <= 10 * step)
        events.xaxis.set_major_locator(FixedLocator([1, *range(max(2, step), last + 1, step)]))
        events.set_xlim(0.5, max(1, last) + 0.5)
    if weight.min() > 0 and weight.max() > WIDE_RATIO * weight.min():
        target.set(yscale="log", ylim=(weight.min() / 1.3, weight.max() * 1.3))
        target.yaxis.set_major_locator(FixedLocator(log_ticks(*target.get_ylim())))
        target.yaxis.set_minor_locator(NullLocator())
        target.yaxis.set_major_formatter("{x:g}")
    else:
        target.set_ylim(0, 1.1 * weight.max() or 1)
    most = int(having[thin & past].max()) if (thin & past).any() else 0
    return [f"Grey: positions that at most {most:,} of {rows:,} rows have."] if most else []


def _shares(positions: list[dict[str, Any]]) -> str:
    """How the weight of all rows is shared out."""
    place, weight, having = _columns(positions)
    mass = weight * having
    total = mass.sum() or 1.0
    on_target, newest = mass[place == 0].sum(), mass[(place > 0) & (place <= NEWEST)].sum()
    return (
        f"pooling puts {percent(on_target / total, 2)} on the target and "
        f"{percent(newest / total, 2)} on the {NEWEST} newest events"
    )


def _columns(positions: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions in order, their weights, and how many rows have them."""
    ordered = sorted(positions, key=lambda entry: entry["position"])
    place, weight, having = (
        np.array([entry[key] for entry in ordered]) for key in ("position", "weight", "rows")
    )
    return place, weight.astype(float), having
