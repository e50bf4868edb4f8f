"""What all figures share: style, colours, texts that fit, files that do not change by themselves.

Panels are laid out by Matplotlib's constrained layout, which makes room for all texts but for those
longer than the panel or figure they belong to; `fitted` and `wrapped` measure these first.
"""

import csv
import functools
import math
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

from ...common.errors import UserError
from ...common.files import written_beside

# Okabe and Ito's colours, which colour-blind readers can tell apart; yellow is too light for lines.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
COLOURS = (BLUE, VERMILION, GREEN, "#CC79A7", "#56B4E9", ORANGE, "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
GREY = "#595959"
LIGHT = "#BDBDBD"
TITLE_POINTS, TEXT_POINTS, NOTE_POINTS = 14, 12.5, 11
WIDTH = 6.4  # inches
ROW = 0.28  # inches of a row of a dot plot
SIMULATED = "Simulated data: says nothing of real clicks."
_FONT = "DejaVu Sans"  # comes with Matplotlib, so that a text is as wide on every machine

# Decorates whatever draws or writes: the user's own matplotlibrc counts for nothing.
styled = matplotlib.style.context(
    [
        "default",
        {
            "font.family": _FONT,
            "font.size": TEXT_POINTS,
            "axes.titlesize": TEXT_POINTS,
            "axes.labelsize": TEXT_POINTS,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "axes.formatter.useoffset": False,
            "axes.grid.axis": "both",
            "axes.axisbelow": True,
            "grid.color": "#E6E6E6",
            "xtick.color": GREY,
            "ytick.color": GREY,
            "xtick.labelcolor": "black",
            "ytick.labelcolor": "black",
            "lines.linewidth": 2.0,
            "lines.markersize": 7.0,
            "text.parse_math": False,  # a `$` in a name is a `$`
            "svg.fonttype": "path",
            "svg.hashsalt": "feseq",
        },
    ]
)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches."""
    return Figure(figsize=(width, height), layout="constrained")


def frame(figure: Figure, title: str, notes: Sequence[str] = (), *, simulated: bool) -> None:
    """Add what the reader learns at the head, and at the foot what else there is to know."""
    width = figure.get_figwidth() - 0.2
    left = 0.1 / figure.get_figwidth()
    text = wrapped(title, width, TITLE_POINTS)
    figure.suptitle(text, x=left, ha="left", fontsize=TITLE_POINTS)
    lines = [wrapped(note, width, NOTE_POINTS) for note in notes]
    lines += [SIMULATED] if simulated else []
    if lines:
        figure.supxlabel("\n".join(lines), x=left, ha="left", fontsize=NOTE_POINTS, color=GREY)


def only_text(text: str, *, simulated: bool) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = new_figure(WIDTH, 1.6)
    frame(figure, text, simulated=simulated)
    return figure


@styled
def save(figure: Figure, path: Path) -> None:
    """Write as SVG without date and version."""
    with written_beside(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


@functools.lru_cache(10_000)
def inches(text: str, points: float) -> float:
    """Width of one line of text."""
    font = FontProperties(family=_FONT, size=points)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=_FONT))).get_charmap())


def legible(text: str) -> str:
    """`text` with an escape such as \\u65e5 for each character that the font cannot draw."""
    return "".join(
        char
        if (char.isprintable() or char == "\u00a0") and ord(char) in _glyphs()
        else char.encode("unicode_escape").decode()
        for char in text
    )


def fitted(text: str, width: float, points: float = TEXT_POINTS) -> str:
    """`text` as it can be drawn, its middle left out where it is wider than `width` inches."""
    text = legible(text)
    # No letter is narrower than 2 points: what is longer is not even measured.
    most = int(width * 72 / 2)
    if len(text) <= most and inches(text, points) <= width:
        return text

    def shortened(kept: int) -> str:
        return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"

    lengths = range(1, min(most, len(text)))
    return shortened(bisect_right(lengths, width, key=lambda kept: inches(shortened(kept), points)))


def wrapped(text: str, width: float, points: float) -> str:
    """`text` in lines no wider than `width` inches, broken at spaces that may break."""
    lines: list[str] = []
    for word in legible(text).split(" "):
        if lines and inches(f"{lines[-1]} {word}", points) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(fitted(word, width, points))
    return "\n".join(lines)


def end_labels(ax: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Label lines at the right of a panel: (y of the line's end, text, colour) each.

    Called last: labels are moved apart by the height that the panel then has.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    ax.set_ylim(ax.get_ylim())
    figure.draw_without_rendering()
    height = ax.get_window_extent().height / figure.dpi * 72
    gap = 1.25 * TEXT_POINTS
    ends = [
        height * ax.transAxes.inverted().transform(ax.transData.transform((0, y)))[1]
        if math.isfinite(y)
        else 0.0
        for y, _, _ in labels
    ]
    order = sorted(range(len(labels)), key=lambda i: ends[i])
    for i, place in zip(order, spread([ends[i] for i in order], gap, height)):
        _, text, colour = labels[i]
        ax.annotate(
            text,
            (1, 0),
            xycoords="axes fraction",
            xytext=(9, place),
            textcoords="offset points",
            va="center",
            color=colour,
        )


def spread(places: Sequence[float], gap: float, room: float) -> list[float]:
    """Ascending places moved apart to at least `gap`, each as little as its crowd allows.

    They stay between 0 and `room` where so many fit.
    """
    crowds: list[tuple[float, int]] = []  # (mean of the places less their rank's gaps, how many)
    for rank, place in enumerate(places):
        mean, count = place - rank * gap, 1
        while crowds and crowds[-1][0] > mean:
            before, more = crowds.pop()
            mean, count = (mean * count + before * more) / (count + more), count + more
        crowds.append((mean, count))
    starts = [mean for mean, count in crowds for _ in range(count)]
    highest = max(0.0, room - (len(places) - 1) * gap)
    return [min(max(0.0, start), highest) + rank * gap for rank, start in enumerate(starts)]


def log_ticks(start: float, stop: float) -> list[float]:
    """Round numbers between, for a logarithmic axis as wide as a figure: the fewer, the longer."""
    decades = math.log10(stop / start)
    heads = (1, 2, 5) if decades < 2.4 else (1, 3) if decades < 3.2 else (1,)
    every = max(1, math.ceil(decades / 5))
    powers = range(math.ceil(math.log10(stop)), math.floor(math.log10(start)) - 1, -every)
    ticks = sorted(float(f"{head}e{power}") for power in powers for head in heads)
    return [tick for tick in ticks if start <= tick <= stop]


def number(value: Any) -> float:
    """A float of what JSON or CSV hold; NaN for null and empty text."""
    return math.nan if value is None or value == "" else float(value)


def interval(metric: dict[str, Any] | None) -> tuple[float, float, float]:
    """(value, low, high) of an entry of metrics.json, NaN where it has none."""
    value, low, high = (number((metric or {}).get(key)) for key in ("value", "low", "high"))
    return value, low, high


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """0.703 (0.698 to 0.708)."""
    if not math.isfinite(value):
        return "unknown"
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def percent(share: float, digits: int = 4) -> str:
    """1.93 %, without needless zeros and in one piece."""
    return f"{100 * share:.{digits}g}\u00a0%"


def confidence(metrics: dict[str, Any]) -> str:
    """The level of the intervals of metrics.json, as 95 %."""
    return percent(metrics["confidence"])


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file of this workflow; raises UserError without `columns` or any row."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = reader.fieldnames or ()
    if missing := [name for name in columns if name not in names]:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; delete it and run the same command again"
        )
    if not rows:
        raise UserError(f"{path}: no rows; delete it and run the same command again")
    return rows
