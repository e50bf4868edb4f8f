"""The look that all figures share, and SVG files that are the same whenever their input is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ...common.files import written_beside

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, GREEN, VERMILION, ORANGE = "#0072B2", "#009E73", "#D55E00", "#E69F00"
GREY = "#595959"
WIDTH = 7.0  # inches
ROW = 0.24  # inches of a row of a dot plot
SIMULATED = "Simulated data: says nothing of real clicks."

# Decorates whatever draws or writes, so that the user's own matplotlibrc does not count.
styled = matplotlib.style.context(
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


def new_figure(
    width: float, height: float, title: str, notes: Sequence[str] = (), *, simulated: bool
) -> Figure:
    """An empty figure of that many inches, with its title above and its notes below."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.02, ha="left")
    if foot := [*notes, *[SIMULATED] * simulated]:
        figure.supxlabel("\n".join(foot), x=0.02, ha="left", fontsize=9, color=GREY)
    return figure


def only_text(text: str, *, simulated: bool) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = new_figure(WIDTH, 1.2, text, simulated=simulated)
    figure.set_layout_engine("none")
    return figure


@styled
def save(figure: Figure, path: Path) -> None:
    """Write as SVG without date and version."""
    with written_beside(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def draw_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of a horizontal chart, the first one at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def draw_intervals(
    ax: Axes,
    y: Sequence[int],
    values: np.ndarray,
    marker: str,
    colour: str,
    label: str | None = None,
    face: str | None = None,
) -> None:
    """Points with bars, of [rows, 3]: value, low and high end, NaN where unknown.

    `face` is another colour inside the points.
    """
    value, low, high = values.T
    # Percentiles of resamples need not hold the value itself, which `errorbar` would refuse.
    ax.hlines(y, low, high, color=colour)
    ax.plot(value, y, marker, color=colour, label=label, markerfacecolor=face or colour)


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


def percent(share: float, digits: int = 3) -> str:
    """1.93 %, without needless zeros."""
    return f"{100 * share:.{digits}g} %"


def wilson(clicks: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of the click rate, low and high (J. Am. Stat. Assoc. 22, 1927)."""
    z = 1.959963984540054
    centre = (clicks + z**2 / 2) / (rows + z**2)
    half = z / (rows + z**2) * np.sqrt(clicks * (rows - clicks) / rows + z**2 / 4)
    return centre - half, centre + half


def interval(metric: dict[str, Any] | None) -> list[float]:
    """[value, low, high] of an entry of metrics.json, NaN where it has none."""
    entry = metric or {}
    return [float("nan") if entry.get(k) is None else entry[k] for k in ("value", "low", "high")]


def with_interval(values: Sequence[float], digits: int = 3) -> str:
    """`0.703 (0.698 to 0.708)`."""
    value, low, high = (f"{x:.{digits}f}" for x in values)
    return "unknown" if value == "nan" else value if low == "nan" else f"{value} ({low} to {high})"
