"""Write Markdown pages and their plots in a common style.

Each page is also written as self-contained HTML for Snakemake's report. A plot is an SVG file whose
bytes depend only on the plot's data.
"""

import base64
import html
import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from markdown import markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.special import betaincinv

from ..common.files import atomic_write
from ..config.names import FEW_CLICKS, SIGNIFICANCE
from ..describe.alarms import Alarm

# The styles of Snakemake's report around a page are in rules/captions/workflow.rst. A wide table
# has a shadow at its right edge, which a white gradient covers after scrolling to the table's end.
_STYLE = """\
body { margin: 0; }
.page { max-width: 64rem; margin: 0 auto; padding: 0.5rem 1rem; overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, sans-serif; color: #222; }
.page h1 { font-size: 1.6em; margin: 0.5em 0; } .page h2 { font-size: 1.25em; }
.page img { max-width: 100%; height: auto; }
.page .wide { overflow-x: auto; margin: 0.5em 0; background: no-repeat right / 2em 100%
  linear-gradient(to left, #fff 50%, #fff0) local, no-repeat right / 1em 100%
  linear-gradient(to left, #aaa, #fff0); }
.page table { border-collapse: collapse; font-size: 13px; width: auto; }
.page th, .page td { padding: 3px 8px; text-align: left; vertical-align: top;
  border-bottom: 1px solid #ddd; overflow-wrap: normal; }
.page td { white-space: nowrap; }
.page :is(th, td):first-child { position: sticky; left: 0; background: #fff; }
.page ul { padding-left: 1.3em; }
.page summary { cursor: pointer; margin: 0.5em 0; font-weight: 600; }
@media (max-width: 600px) {
  .page table { font-size: 11px; } .page th, .page td { padding: 3px 5px; white-space: normal; }
  .page.summary table { width: 100%; }
  .page.summary tr { display: grid; grid-template-columns: repeat(3, 1fr);
    border-bottom: 1px solid #ddd; }
  .page.summary :is(th, td) { border: 0; text-align: left !important; }
  .page.summary :is(th, td):nth-child(n + 5) { display: none; }
  .page.summary :is(th, td):first-child { grid-column: 1 / -1; font-weight: 600; }
}
@media print {
  .page table { font-size: 7pt; } .page .wide { overflow: visible; }
  .page td { white-space: normal; } .page img, .page tr { break-inside: avoid; }
}
"""

# Characters that have a meaning in Markdown, HTML or GitHub within a line.
_SPECIAL = re.compile(
    r"[\\`*<>|&~$@]|(?<![^\W_])_|_(?![^\W_])|\](?=[(:\[])|:(?=//|[a-z_]+:)|(?<=www)\."
)

SIMULATED = "**SIMULATED DATA.** These numbers say nothing about real clicks.\n"

# Okabe and Ito's colours, which colour-blind readers can distinguish.
BLUE, VERMILION = "#0072B2", "#D55E00"
GREY = "#595959"
WIDTH_INCHES = 4.8  # A phone shows this at three quarters of its size, with legible text.
ROW_INCHES = 0.29  # height of a row with its name above
MAX_BESIDE = 20  # characters of a name that is beside its bar

# These settings replace the user's matplotlibrc.
_PLOT_STYLE = {
    **{f"axes.spines.{side}": False for side in ("top", "right")},
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "lines.markersize": 5.0,
    "text.parse_math": False,  # draws `$` in names as `$`
    "svg.hashsalt": "feseq",
}
matplotlib.style.use(["default", _PLOT_STYLE])


def escape_markdown(text: str) -> str:
    """A text, such as a column's name, escaped for a line of Markdown."""
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    # A backslash reads better, but not all renderers accept it before every character.
    return _SPECIAL.sub(lambda c: f"\\{c[0]}" if c[0] in "*_" else f"&#{ord(c[0])};", visible)


def alarms_text(alarms: Sequence[Alarm]) -> str:
    """A Markdown list of alarms with advice, or "None."."""
    lines = [f"- **{escape_markdown(alarm.text)}.** {alarm.advice}.\n" for alarm in alarms]
    return "".join(lines) or "None.\n"


def plots_text(plots: Sequence[Path], page: Path) -> str:
    """Markdown that shows `plots` on the page with the path `page`, side by side if they fit."""
    return "\n".join(f"![{p.stem}]({os.path.relpath(p, page.parent)})" for p in plots) + "\n"


def collapsed_section(title: str, *parts: str) -> str:
    """A collapsed section of Markdown, with the contents `parts`; a click on `title` opens it."""
    return "\n\n".join(
        ['<details markdown="1">', f"<summary>{title}</summary>", *parts, "</details>\n"]
    )


def legend(columns: Mapping[str, str]) -> str:
    """A collapsed list of the meanings of a table's columns."""
    lines = [f"- **{name}**: {meaning}" for name, meaning in columns.items()]
    return collapsed_section("What the columns mean", "\n".join(lines))


def markdown_table(table: pd.DataFrame) -> str:
    """A Markdown table of escaped cells, without the index; numbers are right-aligned."""
    cells = table.astype(str).map(escape_markdown).to_numpy().tolist()
    numeric = [all(re.match(r"(-?\d[^(]*)?$", c) for c in column) for column in zip(*cells)]
    lines = [[str(name) for name in table], ["---:" if each else "---" for each in numeric], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def format_values(values: pd.Series, form: Callable[[Any], str], missing: str = "") -> pd.Series:
    """The values as texts that `form` returns; for NaN the text `missing`."""
    cells = [missing if pd.isna(value) else form(value) for value in values]
    return pd.Series(cells, values.index, dtype=object)


def interval_text(entry: Mapping[str, Any] | None, digits: int = 4) -> str:
    """A metric in metrics.json as text, such as `0.703 [0.698, 0.708]`; '' without a value."""
    value, low, high = ((entry or {}).get(key) for key in ("value", "low", "high"))
    if pd.isna(value):
        return ""
    ends = "" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{ends}"


def value_text(model: pd.Series, name: str, digits: int = 4) -> str:
    """The metric `name` in a model's row of comparison.csv, with its interval, as text."""
    ends = {end: model[f"{name}_{end}"] for end in ("low", "high")}
    return interval_text({"value": model[name], **ends}, digits)


def difference_text(model: pd.Series, name: str) -> str:
    """The difference `name` in a model's row of comparison.csv, as text with its significance."""
    is_significant = model[f"{name}_p_value"] < SIGNIFICANCE
    return f"{value_text(model, name)}, {'' if is_significant else 'not '}significant"


def percent(share: float) -> str:
    """A share as `1.93 %`, without trailing zeros."""
    return f"{100 * share:.3g} %"


def write_page(text: str, page: Path, view: Path) -> None:
    """Write the Markdown `text` as `page`, and as HTML with embedded plots as `view`.

    Paths of plots in `text` are relative to `page`. In `view`, links to pages lead to HTML files,
    and have an attribute `data-page` for Snakemake's report.
    """
    with atomic_write(page) as temporary:
        temporary.write_text(text, encoding="utf-8")

    def embedded(plot: re.Match[str]) -> str:
        content = base64.b64encode((page.parent / html.unescape(plot[1])).read_bytes())
        return f'src="data:image/svg+xml;base64,{content.decode()}"'

    body = markdown(text, extensions=["tables", "md_in_html"])
    body = re.sub(r'href="([^":]+)\.md"', r'href="\1.html" data-page="\1.html"', body)
    body = re.sub(r'src="([^":]+\.svg)"', embedded, body)
    # Intervals and percentages are not broken. Wide tables get a scroll bar of their own.
    body = re.sub(
        r"(?<=\d) %|(?<=\]) (?=\*)|(?<=\d,) (?=-?[\d.]+\])",
        lambda space: f"&nbsp;{space[0][1:]}",
        body,
    )
    body = re.sub(r"(?s)(<table.*?</table>)", r'<div class="wide">\1</div>', body)
    title = next(line for line in text.splitlines() if line.startswith("# "))
    with atomic_write(view) as temporary:
        temporary.write_text(
            f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(title.removeprefix('# '))}</title>\n<style>\n{_STYLE}</style>\n"
            f'<main class="page {page.stem}">\n{body}\n</main>\n</html>\n',
            encoding="utf-8",
        )


def new_plot(about: Mapping[str, Any], height: float, title: str, *notes: str) -> Figure:
    """An empty plot, WIDTH_INCHES by `height` inches, with a title above and notes below.

    `about` has `simulated_data`, and for a plot of one model its `full_name`.
    """
    if about.get("full_name"):
        title = f"{shorten(about['full_name'])}\n{title}"
    if about["simulated_data"]:
        notes = (*notes, "Simulated data: says nothing about real clicks.")
    above = [part for line in title.splitlines() for part in textwrap.wrap(line, 52)]
    below = [part for note in notes for part in textwrap.wrap(note, 66)]
    height += 0.2 * len(above) + 0.16 * len(below)
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    figure.suptitle("\n".join(above), x=0.01, ha="left", fontsize=11)
    figure.supxlabel("\n".join(below), x=0.01, ha="left", fontsize=9, color=GREY)
    return figure


def save_svg(figure: Figure, path: Path) -> None:
    """Write a plot as SVG, without date and version."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def interval_panels(
    about: Mapping[str, Any],
    panels: Mapping[str, pd.DataFrame],
    title: str,
    *notes: str,
    middle: float,
    label: str,
) -> Figure:
    """A plot with a panel for each table: a point with a 95 % interval for each row of the table.

    `panels` has tables by title, with columns `name`, `value`, `low`, `high` and `p_value`. A point
    is orange if its p-value is significant, and hollow if its p-value is NaN; a note explains the
    marks that are drawn. A dotted line is at `middle`. `label` is below the horizontal axis.
    `about` has `simulated_data` and perhaps the model's `full_name`.
    """
    panels = {name: table for name, table in panels.items() if len(table)}
    if not panels:
        return new_plot(about, 0.5, "There is nothing to compare", title)
    drawn = pd.concat(panels.values())[["low", "p_value"]].astype(float)
    marks = {
        "Bars: 95 % intervals.": drawn["low"].notna().any(),
        "Orange: significant after Holm's correction.": (drawn["p_value"] < SIGNIFICANCE).any(),
        f"Hollow: fewer than {FEW_CLICKS} clicks or negatives.": drawn["p_value"].isna().any(),
    }
    marks_note = " ".join(mark for mark, is_drawn in marks.items() if is_drawn)
    heights = [len(table) + 3 for table in panels.values()]
    figure = new_plot(about, sum(heights) * ROW_INCHES, title, *notes, marks_note)
    axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False, sharex=True)
    for (name, table), ax in zip(panels.items(), axes.flat):
        rows = table[["value", "low", "high", "p_value"]].astype(float).assign(y=range(len(table)))
        unknown = rows["p_value"].isna()
        faces = np.select([rows["p_value"] < SIGNIFICANCE, unknown], [VERMILION, "none"], BLUE)
        edges = np.where(unknown, GREY, faces).tolist()
        ax.axvline(middle, color=GREY, linestyle=":", alpha=0.6, zorder=0.2)
        ax.hlines(rows["y"], rows["low"], rows["high"], color=edges)
        ax.scatter("value", "y", data=rows, s=25, ec=edges, fc=faces.tolist(), zorder=2)
        # A long name stands above its bar, where it hides grid lines, a short one beside it.
        above = table["name"].str.len().max() > MAX_BESIDE
        style = {"ha": "left", "bbox": {"fc": "white", "ec": "none", "pad": 1}} if above else {}
        ax.set_yticks(rows["y"] - 0.4 * above, list(table["name"]), size=9, **style)
        ax.xaxis.set_zorder(0)
        ax.tick_params("y", length=0, pad=-3 if above else 3)
        ax.grid(visible=False, axis="y")
        ax.locator_params("x", nbins=6)
        ax.set_ylim(len(rows) - 0.6, -0.75)  # the first row is at the top
        ax.set_title(shorten(name, 50), loc="left", fontsize="medium")
        ax.set_xlabel(label)
        ax.tick_params(labelbottom=True)
    return figure


def log_axis(
    ax: Axes, axis: Literal["x", "y"], low: float, high: float, form: Any = "{x:,g}"
) -> None:
    """Make the x or y axis logarithmic from `low` to `high`, with ticks formatted by `form`."""
    low, high = min(low, high / 2), max(high, low * 2)
    ax.set(**{f"{axis}scale": "log", f"{axis}lim": (low / 1.2, high * 1.2)})
    ticks = ax.xaxis if axis == "x" else ax.yaxis
    ticks.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    ticks.set_major_formatter(form)
    ticks.set_minor_formatter(NullFormatter())


def shorten(name: str, size: int = 36) -> str:
    """A name in ASCII for a plot; names above `size` characters lose the middle."""
    name = ascii(name)[1:-1]
    return name if len(name) <= size else f"{name[: size // 2]}...{name[-(size // 2) + 3 :]}"


def rate_interval(clicks: Any, rows: Any) -> tuple[Any, Any]:
    """The 95 % Jeffreys interval (low, high) of the click rate; 0 < low < high < 1."""
    a, b = clicks + 0.5, rows - clicks + 0.5
    return betaincinv(a, b, 0.025), betaincinv(a, b, 0.975)
