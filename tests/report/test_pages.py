"""Pages and plots say what their inputs say, and are legible whatever these are."""

import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.stats import binomtest

from support.facts import facts_of
from support.predictions import put_predictions
from support.raw_tables import raw_table, with_roles
from tossctr.common.files import write_json
from tossctr.describe.alarms import Alarm
from tossctr.describe.checks import find_alarms
from tossctr.report import model_plots as draw
from tossctr.report import page as pages
from tossctr.report.data_page import PLOTS, click_rates_plot, drift_plot, write_data_page
from tossctr.report.outcome import failure_lines, result_lines

LONG = "a name that is far too long for $any axis " * 4 + "한국\n"
Facts = dict[str, Any]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Of simulated rows with a column and categories of long names; the test's ages are higher."""
    names = [f"{LONG} {i % 12}" for i in range(400)]
    train = raw_table(400, age=np.arange(400) % 9, **{LONG: names})
    test = raw_table(200, age=np.arange(200) % 9 + 20, **{LONG: names[:200]})
    columns = with_roles(profile=("country", LONG))
    facts = facts_of(tmp_path_factory.mktemp("facts"), train, test, columns)
    return facts | {"simulated_data": True}


def page_of(folder: Path, facts: Facts, *alarms: Alarm) -> str:
    plots = [folder / f"plots/{name}.svg" for name in PLOTS]
    write_data_page(facts | {"label": "y"}, alarms, plots, folder / "data.md", folder / "data.html")
    return (folder / "data.md").read_text()


def test_the_page_starts_with_its_alarms_and_says_what_the_facts_say(
    tmp_path: Path, facts: Facts
) -> None:
    alarm = Alarm("Column age alone predicts the clicks", "Take it out of columns.groups")
    page = page_of(tmp_path, facts, alarm)
    assert page.index("SIMULATED") < page.index("## Alarms") < page.index("## Rows")
    assert f"- **{alarm.text}.** {alarm.advice}.\n" in page
    assert re.findall(r"!\[\w+\]\((.*)\)", page) == [f"plots/{name}.svg" for name in PLOTS]
    test, events = facts["adversary"]["test"], facts["sequences"][0]
    assert "| train | 300 | 75 | 25 % | 300 |" in page
    assert f"{test['auc']:.3f} |" in page
    assert f", test**: age {test['columns']['age']:.3f}" in page
    assert f"| train | {events['mean']['train']:.1f} | {events['longest']['train']} |" in page
    assert "label y is positive" in page
    assert re.search(r"^\| country .* \| 0 % \| 0 % \|$", page, re.M)


def test_without_a_test_table_the_page_says_nothing_of_it(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, raw_table(200), None, with_roles(profile=(), numeric=("age",)))
    assert not [alarm for alarm in find_alarms(facts) if "test" in alarm.text]
    page = page_of(tmp_path, facts)
    assert "## Alarms\n\nNone." in page
    assert re.findall(r"^\|.*\btest\b.*", page, re.M) == []


def test_the_page_is_also_one_html_file_with_its_plots(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg/>")
    text = "# A\n\n![a](a.svg) [b](c/b.md)\n"
    pages.write_page(text, tmp_path / "a.md", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "data:image/svg+xml;base64,PHN2Zy8+" in page
    assert '<a href="c/b.html" data-page="c/b.html">' in page


@pytest.mark.parametrize(
    "name",
    ["a_b *c* __d__ ~~e~~", "<b>&lt;&#124;|\\|", "[a](b.md) ![c](d.svg)", "`$x$`\n\r- # 1.\x00"],
)
def test_names_of_columns_stand_in_the_page_as_they_are(tmp_path: Path, name: str) -> None:
    table = pages.markdown_table(pd.DataFrame({"a": [name], "b": ["1"]}))
    parts = ["# A", pages.collapsed_section("B", table)]
    parts += [f"- of {pages.escape_markdown(name)}, too"]
    parts += [pages.alarms_text([Alarm(f"Column {name}", "Correct")])]
    pages.write_page("\n\n".join(parts), tmp_path / "a.md", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    main = ElementTree.fromstring(page[page.index("<main") : page.rindex("</html>")])
    name = "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
    cells, lines = (
        ["".join(part.itertext()).strip() for part in main.iter(kind)] for kind in ("td", "li")
    )
    assert cells == [name, "1"]
    assert lines == [f"of {name}, too", f"Column {name}. Correct."]


def test_a_run_ends_with_the_alarms_of_new_data_pages_and_the_new_summary(tmp_path: Path) -> None:
    for size, alarms in (("full", [Alarm("A", "B")]), ("toy", [])):
        write_json(tmp_path / size / "data.json", {"alarms": [asdict(alarm) for alarm in alarms]})
    pages.write_page("# A\n\n**Submit** b.\n", tmp_path / "summary.md", tmp_path / "summary.html")
    lines = [line.removeprefix(f"{tmp_path}/") for line in result_lines(tmp_path, 0)]
    assert sorted(lines[:2]) == ["full/data.html: alarms: 1", "toy/data.html: alarms: none"]
    assert lines[2:] == ["summary.html: Submit b."]
    assert not [*result_lines(tmp_path, time.time() + 9)]


def test_a_failed_run_ends_with_the_error_of_a_job_s_last_attempt(tmp_path: Path) -> None:
    for attempt in "12":
        (tmp_path / attempt).write_text(f"slurmstepd: error: {attempt}\n")
    logs = [f"    log: {tmp_path}/job, {tmp_path}/{attempt} (check log file(s)" for attempt in "12"]
    (tmp_path / "log").write_text("\n".join(logs))
    assert [line[-3:] for line in failure_lines(tmp_path / "log")] == [": 2"]


# Made-up metrics and histories of models, to be drawn.
ABOUT = {"full_name": f"full/{LONG}", "simulated_data": True}
RANDOM = np.random.default_rng(0)
TRUE = RANDOM.normal(-4.2, 0.8, 20_000)
# 2 % clicks, and logits with an AUC of about 0.7.
LABEL = (RANDOM.random(20_000) < 1 / (1 + np.exp(-TRUE))).astype(np.uint8)
LOGIT = (TRUE + RANDOM.normal(0, 0.3, 20_000)).astype(np.float32)


def entry(value: float | None) -> dict[str, float | None]:
    low, high = (None, None) if value is None else (value - 0.01, value + 0.01)
    return {"value": value, "low": low, "high": high}


def measured(slices: dict[str, Any], auc: float | None = 0.7) -> dict[str, Any]:
    metrics = {"auc": entry(auc), "calibration_error": entry(0.001)}
    return ABOUT | {"metrics": metrics, "slices": slices}


def slice_of(name: str, rows: int, auc: float | None = None) -> dict[str, Any]:
    return {"slice": name, "rows": rows, "clicks": rows // 9, "auc": entry(auc)}


def history(evaluations: int) -> pd.DataFrame:
    i = np.arange(evaluations)
    # The third is the best.
    auc = 0.7 - 0.001 * (i - 2) ** 2
    columns = {"epoch": i + 1, "step": 1234 * (i + 1), "train_loss": 0.1, "logloss": 0.8 - auc}
    return pd.DataFrame(columns).assign(auc=auc, monitor=auc)


def importance(*p_values: float | None) -> dict[str, Any]:
    """Columns that lose the same."""
    changes = [
        {"changed": f"{LONG} {i}", "auc_lost": entry(0.1) | {"p_value": p_value}}
        for i, p_value in enumerate(p_values)
    ]
    return {"rows": 5_000, "clicks": 97, "auc": entry(0.7), "changes": changes}


SLICES = {
    LONG: [slice_of(f"{LONG} {i}", 10**8 + i, 0.7) for i in range(30)],
    "none": [slice_of("a", 9), slice_of("", 0)],
}
DRAWN: dict[str, Callable[[Facts], Figure]] = {
    "learning curves": lambda _: draw.learning_curves_plot(history(5), ABOUT),
    "one evaluation": lambda _: draw.learning_curves_plot(history(1), ABOUT),
    "calibration of no click": lambda _: draw.calibration_plot(0 * LABEL, LOGIT, measured({})),
    "slices": lambda _: draw.slices_plot(measured(SLICES)),
    "an unknown slice": lambda _: draw.slices_plot(measured({"a": [slice_of("b", 9)]}, auc=None)),
    "importance": lambda _: draw.importance_plot(importance(*[0.01] * 30), ABOUT),
    "click rates": click_rates_plot,
    "drift": lambda facts: drift_plot(facts | {"columns": 6 * facts["columns"]}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_fits_on_its_page_and_says_that_data_are_simulated(name: str, facts: Facts) -> None:
    figure = DRAWN[name](facts)
    FigureCanvasAgg(figure).draw()
    seen = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
    assert any("Simulated data" in text for text in seen)
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.05, box
    for ax in figure.axes:
        size = ax.get_window_extent()
        assert min(size.width, size.height) / figure.dpi > 0.2, ax


def test_plots_of_a_model_are_the_same_bytes_for_the_same_input(tmp_path: Path) -> None:
    put_predictions(tmp_path / "valid.parquet", LABEL, LOGIT)
    about = measured({"none": SLICES["none"]}) | {"simulated_data": False}
    write_json(tmp_path / "metrics.json", about)
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        outputs = [folder / f"{name}.svg" for name in ("calibration", "slices")]
        draw.plot_model(tmp_path / "valid.parquet", tmp_path / "metrics.json", *outputs)
        made.append([path.read_bytes() for path in outputs])
    assert made[0] == made[1]
    assert max(map(len, made[0])) < 300_000


def test_bins_hold_all_rows_and_have_intervals() -> None:
    bins = draw.binned_clicks(LABEL, LOGIT)
    assert len(bins) == 20
    assert bins[["clicks", "rows"]].sum().tolist() == [LABEL.sum(), len(LABEL)]
    assert np.ptp(bins["rows"]) <= 2
    for row in bins.itertuples():
        wilson = binomtest(row.clicks, row.rows).proportion_ci(0.95, "wilson")
        assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high), abs=0.001)


def test_intervals_are_orange_where_significant_and_hollow_where_unknown() -> None:
    plots = [draw.importance_plot(importance(0.001, 0.4, p), ABOUT) for p in (None, 0.4)]
    assert ["Hollow" in plot.get_supxlabel() for plot in plots] == [True, False]
    (ax,) = plots[0].axes
    bars, points = ax.collections
    assert points.get_offsets().tolist() == [[0.1, 0], [0.1, 1], [0.1, 2]]
    assert np.array(bars.get_segments())[:, :, 0] == pytest.approx(np.array([[0.09, 0.11]] * 3))
    orange, blue, hollow = points.get_facecolors()
    assert (orange[:3].argmax(), blue[:3].argmax(), hollow[3]) == (0, 2, 0)
