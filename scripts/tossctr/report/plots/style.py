"""The style of all plots, and SVG files that depend only on their input."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.stats import beta

from ...common.files import written_beside
from ...config.names import FEW_CLICKS, SIGNIFICANCE

# Okabe and Ito's colours, which colour-blind readers can distinguish.
BLUE, VERMILION = "#0072B2", "#D55E00"
GREY = "#595959"
WIDTH = 7.0  # inches
ROW = 0.24  # inches of a row
SIMULATED = "Simulated data: says nothing about real clicks."
BARS = (
    f"Bars: 95 % intervals. Red: significant, among all that are drawn or left out.\n"
    f"Hollow: fewer than {FEW_CLICKS} clicks."
)

# The user's matplotlibrc does not apply.
_STYLE = {
    **{f"axes.spines.{side}": False for side in ("top", "right")},
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "lines.markersize": 5.0,
    "text.parse_math": False,  # a `$` in a name is a `$`
    "svg.hashsalt": "feseq",
}
matplotlib.style.use(["default", _STYLE])

# The subject of a plot: `simulated_data`, and the `full_name` of its model if it has one.
About = Mapping[str, Any]


def new_plot(about: About, width: float, height: float, title: str, *notes: str) -> Figure:
    """An empty plot of a size in inches, with its title above and its notes below."""
    figure = Figure(figsize=(width, height), layout="constrained")
    if about.get("full_name"):
        title = f"{short(about['full_name'])}\n{title}"
    figure.suptitle(title, x=0.02, ha="left")
    if about["simulated_data"]:
        notes = (*notes, SIMULATED)
    if notes:
        figure.supxlabel("\n".join(notes), x=0.02, ha="left", fontsize=9, color=GREY)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a plot as SVG, without date and version."""
    with written_beside(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def interval_panels(
    about: About,
    panels: Mapping[str, pd.DataFrame],
    title: str,
    *notes: str,
    middle: float,
    label: str,
) -> Figure:
    """Panels one below the other: a point with its 95 % interval for each row.

    Rows have `name`, `value`, `low` and `high`, and the `p_value` of a difference: a row is red if
    it is small, hollow if it is unknown. A dotted line is at `middle`.
    """
    panels = {name: table for name, table in panels.items() if len(table)}
    if not panels:
        return new_plot(about, WIDTH, 1.2, "There is nothing to compare", title)
    heights = [len(table) + 3.5 for table in panels.values()]
    figure = new_plot(about, WIDTH + 2, sum(heights) * ROW + 1.6, title, *notes)
    axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False, sharex=True)
    for (name, table), ax in zip(panels.items(), axes.flat):
        rows = table[["value", "low", "high", "p_value"]].astype(float).assign(y=range(len(table)))
        unknown = rows["p_value"].isna()
        faces = np.select([rows["p_value"] < SIGNIFICANCE, unknown], [VERMILION, "none"], BLUE)
        edges = np.where(unknown, GREY, faces).tolist()
        ax.axvline(middle, color=GREY, linestyle=":")
        ax.hlines(rows["y"], rows["low"], rows["high"], color=edges)
        ax.scatter("value", "y", data=rows, s=25, ec=edges, fc=faces.tolist(), zorder=2)
        ax.set_yticks(rows["y"], list(table["name"]))
        ax.set_ylim(len(rows) - 0.5, -0.5)  # the first one at the top
        ax.set_title(short(name, 60), loc="left", fontsize="medium")
        ax.set_xlabel(label)
        ax.tick_params(labelbottom=True)
    return figure


def log_axis(
    ax: Axes, axis: Literal["x", "y"], low: float, high: float, form: Any = "{x:,g}"
) -> None:
    """Make the x or y axis logarithmic from `low` to `high`, with at least two ticks."""
    low, high = min(low, high / 2), max(high, low * 2)
    ax.set(**{f"{axis}scale": "log", f"{axis}lim": (low / 1.2, high * 1.2)})
    ticks = ax.xaxis if axis == "x" else ax.yaxis
    ticks.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    ticks.set_major_formatter(form)
    ticks.set_minor_formatter(NullFormatter())


def short(name: str, most: int = 36) -> str:
    """A name to draw: in ASCII, and if it is long, without its middle."""
    name = ascii(name)[1:-1]
    return name if len(name) <= most else f"{name[: most // 2]}...{name[-(most // 2) + 3 :]}"


def rate_interval(clicks: Any, rows: Any) -> tuple[Any, Any]:
    """The 95 % interval (Jeffreys) of the click rate, whose ends are never 0 or 1."""
    low, high = beta.interval(0.95, clicks + 0.5, rows - clicks + 0.5)
    return low, high
