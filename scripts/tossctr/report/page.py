"""Pages of Markdown, each also as a self-contained HTML file, for Snakemake's report."""

import base64
import html
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markdown import markdown

from ..common.files import written_beside
from ..config.names import SIGNIFICANCE
from ..describe.alarms import Alarm

# What concerns only Snakemake's report around a page is in rules/captions/workflow.rst.
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
@media print {
  .page table { font-size: 7pt; } .page .wide { overflow: visible; }
  .page td { white-space: normal; } .page img, .page tr { break-inside: avoid; }
}
"""

# Characters with a meaning in Markdown, HTML or GitHub in the middle of a line.
_SPECIAL = re.compile(
    r"[\\`*<>|&~$@]|(?<![^\W_])_|_(?![^\W_])|\](?=[(:\[])|:(?=//|[a-z_]+:)|(?<=www)\."
)

SIMULATED = "**SIMULATED DATA.** It comes from the stand-in and says nothing about real clicks.\n"


def literal(text: str) -> str:
    """A text, such as a column's name, escaped for one line of Markdown."""
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    # A backslash reads better, but not all renderers accept it before every character.
    return _SPECIAL.sub(lambda c: f"\\{c[0]}" if c[0] in "*_" else f"&#{ord(c[0])};", visible)


def alarms_text(alarms: Sequence[Alarm]) -> str:
    """A Markdown list of alarms, each with its advice."""
    return "\n".join([f"- **{literal(a.text)}.** {a.advice}." for a in alarms] or ["None."]) + "\n"


def plots_text(plots: Sequence[Path], page: Path) -> str:
    """Markdown that shows `plots` on the page of that path."""
    places = [(path.stem, os.path.relpath(path, page.parent)) for path in plots]
    return "\n".join(f"![{name}]({place})\n" for name, place in places)


def markdown_table(table: pd.DataFrame) -> str:
    """A table of texts, or of unformatted numbers, without its index."""
    cells = table.astype(str).map(literal).to_numpy().tolist()
    lines = [[str(name) for name in table], ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def texts(values: pd.Series, form: Callable[[Any], str], missing: str = "") -> pd.Series:
    """Each value as a text; NaN as `missing`."""
    cells = [missing if pd.isna(value) else form(value) for value in values]
    return pd.Series(cells, values.index, dtype=object)


def with_interval(entry: Mapping[str, Any] | None, digits: int = 4) -> str:
    """An entry of metrics.json as `0.703 [0.698, 0.708]`, `0.703`, or '' if unknown."""
    value, low, high = ((entry or {}).get(key) for key in ("value", "low", "high"))
    if pd.isna(value):
        return ""
    ends = "" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{ends}"


def column_text(model: pd.Series, name: str) -> str:
    """A value of a row of comparison.csv with its interval."""
    ends = {end: model[f"{name}_{end}"] for end in ("low", "high")}
    return with_interval({"value": model[name], **ends})


def difference_text(model: pd.Series, name: str) -> str:
    """A difference with its interval, and whether it is significant."""
    is_sure = model[f"{name}_p_value"] < SIGNIFICANCE
    return f"{column_text(model, name)}, {'' if is_sure else 'not '}significant"


def percent(share: float) -> str:
    """A share as `1.93 %`, without trailing zeros."""
    return f"{100 * share:.3g} %"


def write_page(text: str, page: Path, view: Path) -> None:
    """Write the Markdown `text` as `page`, and as HTML with embedded plots as `view`.

    The text names the plots' files relative to `page`. In `view`, a link to another page is an
    `<a>` without `href`, whose `data-page` is that page's HTML file: inside Snakemake's report
    there are no files to lead to. The report's first page makes links of them.
    """
    with written_beside(page) as temporary:
        temporary.write_text(text, encoding="utf-8")

    def embedded(plot: re.Match[str]) -> str:
        content = base64.b64encode((page.parent / html.unescape(plot[1])).read_bytes())
        return f'src="data:image/svg+xml;base64,{content.decode()}"'

    body = markdown(text, extensions=["tables"])
    body = re.sub(r'href="([^":]+)\.md"', r'data-page="\1.html"', body)
    body = re.sub(r'src="([^":]+\.svg)"', embedded, body)
    # Wide tables scroll by themselves.
    body = re.sub(r"(?s)(<table.*?</table>)", r'<div class="wide">\1</div>', body)
    title = next(line for line in text.splitlines() if line.startswith("# "))
    with written_beside(view) as temporary:
        temporary.write_text(
            f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(title.removeprefix('# '))}</title>\n<style>\n{_STYLE}</style>\n"
            f'<main class="page">\n{body}\n</main>\n</html>\n',
            encoding="utf-8",
        )
