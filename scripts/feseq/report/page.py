"""Pages of Markdown, each also as one HTML file that needs no other, for Snakemake's report."""

import base64
import html
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markdown import Markdown

from ..common.files import written_beside
from ..config.names import SIGNIFICANCE
from ..describe.alarms import Alarm

# The last lines are for Snakemake's report, whose first page holds the summary: it takes the whole
# width there, the graph of steps comes below, and nothing else is printed.
_STYLE = """\
.page { max-width: 72rem; margin: 0 auto; padding: 0.5rem 1rem; overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, sans-serif; color: #222; }
.page h1 { font-size: 1.6em; margin: 0.5em 0; } .page h2 { font-size: 1.25em; }
.page img { max-width: 100%; height: auto; }
.page .wide { overflow-x: auto; }
.page table { border-collapse: collapse; font-size: 13px; width: auto; margin: 0.5em 0; }
.page th, .page td { padding: 3px 8px; text-align: left; vertical-align: top;
  border-bottom: 1px solid #ddd; overflow-wrap: normal; }
.page td { white-space: nowrap; }
.prose:has(.page) { max-width: none; }
.items-center:has(.page) { align-items: flex-start; }
.prose .page code::before, .prose .page code::after { content: none; }
.items-start:has(.page) { flex-direction: column; align-items: stretch; min-width: 0; }
@media print {
  .page table { font-size: 7pt; } .page th, .page td { padding: 2px 3px; min-width: 0 !important;
    white-space: normal !important; }
  .page p:has(+ p > img) { break-after: avoid; }
  .page .wide { overflow: visible; } .page img, .page tr { break-inside: avoid; }
  .w-screen:has(.page) > :not(:has(.page)), .page ~ p { display: none; }
  .items-start:has(.page) > :not(:has(.page)) { display: none; }
  .h-screen:has(.page) { display: block; height: auto; overflow: visible; }
}
"""


# What Markdown, HTML or GitHub take for their own in the midst of a line.
_SPECIAL = re.compile(
    r"[\\`*<>|&~$@]|(?<![^\W_])_|_(?![^\W_])|\](?=[(:\[])|:(?=//|[a-z_]+:)|(?<=www)\."
)

SIMULATED = "**SIMULATED DATA.** It comes from the stand-in and says nothing of real clicks.\n"


def literal(text: str) -> str:
    """A text, such as a column's name, for Markdown that shows it as it is, on one line."""
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    # A backslash reads better, where all renderers take it.
    return _SPECIAL.sub(lambda c: f"\\{c[0]}" if c[0] in "*_" else f"&#{ord(c[0])};", visible)


def alarms_text(alarms: Sequence[Alarm]) -> str:
    """A Markdown list of what is wrong and what to do."""
    return "\n".join([f"- **{literal(a.text)}.** {a.advice}." for a in alarms] or ["None."]) + "\n"


def plots_text(plots: Sequence[Path], page: Path) -> str:
    """Markdown that shows `plots` on the page of that path."""
    places = [(path.stem, os.path.relpath(path, page.parent)) for path in plots]
    return "\n".join(f"![{name}]({place})\n" for name, place in places)


def markdown_table(table: pd.DataFrame) -> str:
    """A table of texts, or of numbers as they are; its index is left out."""
    cells = table.astype(str).map(literal).to_numpy().tolist()
    lines = [[str(name) for name in table], ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def texts(values: pd.Series, form: Callable[[Any], str], missing: str = "") -> pd.Series:
    """Each value as a text, `missing` where there is none."""
    found = [missing if pd.isna(value) else form(value) for value in values]
    return pd.Series(found, values.index, dtype=object)


def with_interval(entry: Mapping[str, Any] | None, digits: int = 4) -> str:
    """An entry of metrics.json: `0.703 [0.698, 0.708]`, without ends or '' where unknown."""
    value, low, high = ((entry or {}).get(key) for key in ("value", "low", "high"))
    if pd.isna(value):
        return ""
    ends = "" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{ends}"


def column_text(model: pd.Series, name: str) -> str:
    """A column of a row of comparison.csv with its interval."""
    ends = {end: model[f"{name}_{end}"] for end in ("low", "high")}
    return with_interval({"value": model[name], **ends})


def difference_text(model: pd.Series, name: str) -> str:
    """The same of a difference, and whether it is significant.

    It is by its p-value, or because its interval leaves out 0; never with too few clicks.
    """
    excludes_zero = model[f"{name}_low"] > 0 or model[f"{name}_high"] < 0
    p_value = model.get(f"{name}_p_value", not excludes_zero)
    is_sure = model["enough_clicks"] and p_value < SIGNIFICANCE
    return f"{column_text(model, name)}, {'' if is_sure else 'not '}significant"


def percent(share: float) -> str:
    """1.93 %, without needless zeros."""
    return f"{100 * share:.3g} %"


def write_page(text: str, page: Path, view: Path) -> None:
    """Write the Markdown `text` as `page`, and as HTML with its plots inside as `view`.

    The text names the plots' files relative to `page`. A link to another
    page leads to its HTML file.
    """
    with written_beside(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    maker = Markdown(extensions=["tables"])
    # A column may have any name; no page has HTML of its own.
    maker.preprocessors.deregister("html_block")
    maker.inlinePatterns.deregister("html")
    body = re.sub(r'href="([^":]+)\.md"', r'href="\1.html"', maker.convert(text))
    body = re.sub(
        r'src="([^":]+)\.svg"', lambda found: f'src="{_embedded(page.parent, found[1])}"', body
    )
    # Tables that are too wide scroll by themselves.
    body = re.sub(r"(?s)(<table.*?</table>)", r'<div class="wide">\1</div>', body)
    title = next(line for line in text.splitlines() if line.startswith("# "))
    with written_beside(view) as temporary:
        temporary.write_text(
            f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
            f"<title>{html.escape(title.removeprefix('# '))}</title>\n<style>\n{_STYLE}</style>\n"
            f'<main class="page">\n{body}\n</main>\n</html>\n',
            encoding="utf-8",
        )


def _embedded(folder: Path, name: str) -> str:
    """A plot as a URI that holds it."""
    content = (folder / f"{html.unescape(name)}.svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
