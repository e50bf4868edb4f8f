"""The look that all plots share, and SVG files that are the same whenever their input is."""

from collections.abc import Sequence
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

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, GREEN, VERMILION, ORANGE = "#0072B2", "#009E73", "#D55E00", "#E69F00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
GREY = "#595959"
WIDTH = 7.0  # inches
ROW = 0.24  # inches of a row
SIMULATED = "Simulated data: says nothing of real clicks."

# Not the look of the user's own matplotlibrc.
matplotlib.style.use(
    [
        "default",
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.formatter.useoffset": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E6E6E6",
            "lines.markersize": 5.0,
            "legend.framealpha": 0.7,
            "text.parse_math": False,  # a `$` in a name is a `$`
            "svg.fonttype": "path",
            "svg.hashsalt": "feseq",
        },
    ]
)


def new_plot(
    width: float, height: float, title: str, *notes: str, simulated: bool = False
) -> Figure:
    """An empty plot of that many inches, with its title above and its notes below."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.02, ha="left")
    if foot := [*notes, *[SIMULATED] * simulated]:
        figure.supxlabel("\n".join(foot), x=0.02, ha="left", fontsize=9, color=GREY)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write as SVG without date and version."""
    with written_beside(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def draw_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of a horizontal chart, the first one at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def draw_intervals(
    ax: Axes, rows: pd.DataFrame, colours: Sequence[str], faces: Sequence[str] | None = None
) -> None:
    """A point and its 95 % interval in each row of a horizontal chart: `value`, `low`, `high`."""
    y, values = np.arange(len(rows)), rows[["value", "low", "high"]].astype(float)
    ax.hlines(y, values["low"], values["high"], color=colours)
    ax.scatter(values["value"], y, s=25, edgecolors=colours, facecolors=faces or colours, zorder=2)


def log_axis(
    ax: Axes, axis: Literal["x", "y"], low: float, high: float, form: Any = "{x:,g}"
) -> None:
    """Make the x or y axis logarithmic from `low` to `high`, with two ticks at the least."""
    low, high = min(low, high / 2), max(high, low * 2)
    ax.set(**{f"{axis}scale": "log", f"{axis}lim": (low / 1.2, high * 1.2)})
    ticks = ax.xaxis if axis == "x" else ax.yaxis
    ticks.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    ticks.set_major_formatter(form)
    ticks.set_minor_formatter(NullFormatter())


def short(name: str, most: int = 36) -> str:
    """A name as it can be drawn: ASCII alone, and its middle left out where it is long."""
    name = ascii(name)[1:-1]
    return name if len(name) <= most else f"{name[: most // 2]}...{name[-(most // 2) + 3 :]}"


def rate_interval(clicks: Any, rows: Any) -> tuple[Any, Any]:
    """The 95 % interval (Jeffreys) of the click rate, low and high; never 0 or 1."""
    low, high = beta.interval(0.95, clicks + 0.5, rows - clicks + 0.5)
    return low, high
