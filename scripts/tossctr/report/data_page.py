"""Write the data page, which describes the rows of one size before any training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..common.files import Output, write_json
from ..describe.alarms import Alarm, log_alarms
from ..describe.checks import find_alarms
from ..describe.drift import MUCH_DRIFT, SOME_DRIFT
from ..describe.facts import COMPARED, describe
from .page import (
    GREY,
    SIMULATED,
    alarms_text,
    collapsed_section,
    escape_markdown,
    format_values,
    interval_panels,
    legend,
    log_axis,
    markdown_table,
    percent,
    plots_text,
    rate_interval,
    save_svg,
    shorten,
    write_page,
)

# Maximum panels of click rates, and maximum columns in the plot of drift.
_MAX_PANELS, _MAX_ROWS = 6, 15
_ROWS = {
    "sample": "number of evenly spaced rows from which most other statistics are computed",
    "adversarial AUC": "how well boosting separates the table's rows from train rows; 0.5: not at "
    "all. If validation and test rows have similar values, metrics on validation rows describe "
    "test rows, too",
}
_SEQUENCES = {
    "events": "mean per row",
    "empty": "rows without events",
    "shared": "among rows with at least five events, the share whose events equal those of a train "
    "row (for train: of another train row). If the share is far larger in validation than in test, "
    "metrics are too good for a model that memorizes users: set `columns.group` to the user column "
    "or `columns.time` to the time column",
}
_COLUMNS = {
    "AUC": "AUC of the column alone on train rows",
    "PSI": f"population stability index against train; below {SOME_DRIFT}: hardly any drift; from "
    f"{MUCH_DRIFT}: much drift. Drift alone raises no alarm: if validation rows drift like test "
    f"rows, metrics account for it",
    "values": "distinct train values; a column with fewer than two is useless",
    "missing, in test": "share of missing values in train, and in test",
    "low, high": "range in all train rows",
    "unseen valid, test": "share of the table's rows with an out-of-vocabulary category",
}


def describe_data(
    train: list[Path],
    valid: list[Path],
    test: list[Path],
    feature_map: Path,
    facts: Output,
    page: Output,
    view: Output,
    plots: list[Output],
    *,
    label: str,
    size: str,
    threads: int,
) -> None:
    """Write statistics and alarms of a size's rows (`facts`, JSON), and the data page with plots.

    The page is written in Markdown (`page`) and HTML (`view`). `label` is the label column's name.
    """
    content = describe(train, valid, test, feature_map, size=size, threads=threads)
    content["label"] = label
    alarms = find_alarms(content)
    write_data_page(content, alarms, plots, page, view)
    write_json(facts, {**content, "alarms": [asdict(alarm) for alarm in alarms]})
    log_alarms(alarms, page)


def write_data_page(
    facts: Mapping[str, Any], alarms: Sequence[Alarm], plots: list[Path], page: Path, view: Path
) -> None:
    """Draw the `plots` of the data page; write the page in Markdown (`page`) and HTML (`view`)."""
    for path in plots:
        save_svg(PLOTS[path.stem](facts), path)
    sections = [f"# Data of size {facts['size']}\n"]
    if facts["simulated_data"]:
        sections.append(SIMULATED)
    sections += ["## Alarms\n", alarms_text(alarms), "## Rows\n", _rows_table(facts)]
    sections.append(plots_text(plots[:1], page))
    if tables := [_sequence_table(sequence) for sequence in facts["sequences"]]:
        sections.append(collapsed_section("Sequences", legend(_SEQUENCES), *tables))
    sections.append(collapsed_section("Click rates", plots_text(plots[1:], page)))
    sections.append(collapsed_section("Columns", legend(_COLUMNS), _columns_table(facts)))
    write_page("\n".join(sections), page, view)


def _rows_table(facts: Mapping[str, Any]) -> str:
    rows, clicks = pd.Series(facts["rows"]), pd.Series(facts["clicks"])
    cells = {
        "rows": rows[rows > 0].map("{:,}".format),
        "clicks": clicks.map("{:,}".format),
        "click rate": (clicks / rows).dropna().map(percent),
        "sample": pd.Series(facts["sampled_rows"]).map("{:,}".format),
        "adversarial AUC": pd.Series(facts["adversary"]).dropna().map(_adversary),
    }
    label = f"A click is a row whose label {escape_markdown(facts['label'])} is positive."
    lines = [f"- **{name}**: {meaning}" for name, meaning in _ROWS.items()]
    for name, entry in facts["adversary"].items():
        if entry and entry["is_significant"]:
            lost = [f"{escape_markdown(c)} {auc:.3f}" for c, auc in entry["columns"].items()]
            lines.append(f"- **adversarial AUC lost when shuffled, {name}**: {', '.join(lost)}")
    return "\n".join([f"{label}\n\n{_by_table(cells)}", *lines, ""])


def _sequence_table(sequence: Mapping[str, Any]) -> str:
    shared = pd.Series({"train": sequence["twice_in_train"], **sequence["in_train"]})
    cells = {
        "events": pd.Series(sequence["mean"]).map("{:,.1f}".format),
        "longest": pd.Series(sequence["longest"]).map("{:,}".format),
        "empty": pd.Series(sequence["none"]).map(percent),
        "shared": shared.map(percent),
        "unknown codes": pd.Series({t: sequence[f"unseen_{t}"] for t in COMPARED}).map(percent),
    }
    title = f"### {escape_markdown(sequence['column'])}, {sequence['tokens']:,} codes"
    return f"{title}\n\n{_by_table(cells)}"


def _by_table(cells: Mapping[str, pd.Series]) -> str:
    """A Markdown table: a row for each of train, valid and test that the first column has."""
    table = pd.DataFrame(cells).loc[next(iter(cells.values())).index].fillna("")
    return markdown_table(table.rename_axis("table").reset_index())


def _adversary(entry: Mapping[str, Any]) -> str:
    return f"{entry['auc']:.3f}{'' if entry['is_significant'] else ' (not significant)'}"


def _columns_table(facts: Mapping[str, Any]) -> str:
    columns = pd.DataFrame(facts["columns"])
    shown: dict[str, tuple[str, Callable[[Any], str]]] = {
        "AUC": ("click_auc", "{:.3f}".format),
        "PSI valid": ("psi_valid", "{:.3f}".format),
        "PSI test": ("psi_test", "{:.3f}".format),
        "values": ("distinct", "{:,}".format),
        "missing": ("missing_train", percent),
        "in test": ("missing_test", percent),
        "low": ("low", "{:.4g}".format),
        "high": ("high", "{:.4g}".format),
        "unseen valid": ("unseen_valid", percent),
        "unseen test": ("unseen_test", percent),
    }
    table = columns[["column"]].copy()
    for heading, (name, form) in shown.items():
        if facts["rows"]["test"] or not name.endswith("_test"):
            table[heading] = format_values(columns[name], form)
    return markdown_table(table)


def click_rates_plot(facts: Mapping[str, Any]) -> Figure:
    """A plot of click rates: by position in the raw file, and by category of several columns."""
    overall = sum(facts["clicks"].values()) / sum(facts["rows"][name] for name in facts["clicks"])
    panels, largest = {}, 0.0
    for panel in facts["click_rates"][:_MAX_PANELS]:
        values = pd.DataFrame(panel["values"])
        test_rows = values["test_rows"].astype(float)
        share = test_rows.where(test_rows > 0) / test_rows.sum()
        shares = format_values(share, lambda x: f" ({percent(x)})")
        words = values["value"].fillna("(missing)").str.replace(r"^(\d+)\.0$", r"\1", regex=True)
        names = words.map(lambda word: shorten(word, 24))
        title = panel["column"] or "position in the raw file, in twentieths"
        rows = values["rows"].where(values["rows"] > 0)
        low, high = rate_interval(values["clicks"], rows)
        rates = {"name": names + shares, "value": values["clicks"] / rows, "low": low, "high": high}
        panels[title] = pd.DataFrame(rates).assign(p_value=1.0)
        largest = np.nanmax([largest, *panels[title]["value"]])
    figure = interval_panels(
        facts,
        panels,
        "Click rate by position in the raw file, and by category",
        "In brackets: share of the test rows.",
        f"Dotted: click rate of all rows, {percent(overall)}.",
        middle=overall,
        label="click rate",
    )
    # Long intervals may exceed the frame.
    figure.axes[0].set_xlim(0, max(2 * overall, 1.2 * largest, 1e-6))
    figure.axes[0].xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return figure


def drift_plot(facts: Mapping[str, Any]) -> Figure:
    """A plot of the columns that differ most between train and test (else validation) rows."""
    last = "test" if facts["rows"]["test"] else "valid"
    columns = pd.DataFrame(facts["columns"]).nlargest(_MAX_ROWS, f"psi_{last}")
    smallest, values = 1e-4, columns[f"psi_{last}"]
    names = columns["column"].map(shorten) + format_values(values, "   {:.3f}".format)
    rows = {"name": names, "value": values.clip(lower=smallest), "low": np.nan, "high": np.nan}
    figure = interval_panels(
        facts,
        {"the columns with the most drift": pd.DataFrame(rows).assign(p_value=1.0)},
        f"Drift from train to {last}: population stability index",
        f"Dots and numbers: {last} rows against train rows.",
        f"Dotted: some drift from {SOME_DRIFT}, much drift from {MUCH_DRIFT}.",
        middle=SOME_DRIFT,
        label="population stability index",
    )
    figure.axes[0].axvline(MUCH_DRIFT, ls=":", color=GREY, zorder=0.2)
    log_axis(figure.axes[0], "x", smallest, max(1.0, values.max()))
    return figure


PLOTS = {"drift": drift_plot, "click_rates": click_rates_plot}
