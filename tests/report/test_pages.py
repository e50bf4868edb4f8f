"""Pages and plots say what their inputs say, and are legible whatever these are."""

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.stats import binomtest

from support.facts import facts_of, plain_facts
from support.predictions import put_predictions
from support.raw_tables import raw_table
from tossctr.common.files import write_json
from tossctr.describe.alarms import Alarm, warn_of
from tossctr.describe.checks import alarms_of
from tossctr.report.data_page import (
    PLOTS,
    click_rates_plot,
    drift_plot,
    write_data_page,
)
from tossctr.report.model_plots import (
    binned_clicks,
    calibration_plot,
    importance_plot,
    learning_curves_plot,
    plot_model,
    slices_plot,
)
from tossctr.report.page import (
    BLUE,
    SIMULATED_PLOT,
    VERMILION,
    alarms_text,
    literal,
    markdown_table,
    write_page,
)
from tossctr.report.summary import models_plot

ALARM = Alarm("Column age alone predicts the clicks", "Take it out of columns.groups")


def page_of(folder: Path, *alarms: Alarm, **given: object) -> str:
    plots = [folder / f"plots/{name}.svg" for name in PLOTS]
    files = folder / "data.md", folder / "data.html"
    write_data_page(plain_facts("age", **given), alarms, plots, *files)
    return (folder / "data.md").read_text()


def test_the_page_starts_with_its_alarms_and_says_what_the_facts_say(tmp_path: Path) -> None:
    assert "## Alarms\n\nNone." in page_of(tmp_path)
    page = page_of(tmp_path, ALARM)
    assert page.index("SIMULATED") < page.index("## Alarms") < page.index("## Rows")
    assert f"- **{ALARM.text}.** {ALARM.advice}.\n" in page
    assert re.findall(r"!\[\w+\]\((.*)\)", page) == [f"plots/{name}.svg" for name in PLOTS]
    for figures in (
        r"\| train \| 90,000 \| 1,800 \| 2 % \| 45,000 \|",
        r"\| test .*\| 0\.950 \(age 9 0\.400\) \|",
        r"\| train \| 400\.0 \| 12,345 \| 7\.69 % \| 40 % \|",
    ):
        assert re.search(figures, page), figures


def test_without_a_test_table_the_page_says_nothing_of_it(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, raw_table(200), None)
    plots = [tmp_path / f"plots/{name}.svg" for name in PLOTS]
    assert not [alarm for alarm in alarms_of(facts) if "test" in alarm.text]
    write_data_page(facts, [], plots, tmp_path / "data.md", tmp_path / "data.html")
    page = (tmp_path / "data.md").read_text()
    assert re.findall(r"^[|-].*\btest\b.*", page, re.M) == []


def test_the_page_is_also_one_html_file_with_its_plots(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg/>")
    text = "# A\n\n![a](a.svg) [b](c/b.md) [c](https://c.org/c.md)\n"
    write_page(text, tmp_path / "a.md", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    links = '<a data-page="c/b.html">', "https://c.org/c.md"
    for part in ("data:image/svg+xml;base64,PHN2Zy8+", *links):
        assert part in page


MARKS = st.sampled_from(
    [*"\\`*_{}[]()<>#+-.!|&~$:;\"'\n\r\t \x00ax1", "](", "<b>", "&lt;", "![", "__"]
)


def without_blanks(text: str) -> str:
    """HTML does not keep all of them."""
    return "".join(text.split())


@given(st.lists(MARKS, min_size=1, max_size=12).map("".join))
def test_names_of_columns_stand_in_the_page_as_they_are(name: str) -> None:
    with TemporaryDirectory() as folder:
        view = Path(folder, "a.html")
        parts = ["# A", markdown_table(pd.DataFrame({"a": [name], "b": ["1"]}))]
        parts += [f"- of {literal(name)}, too", alarms_text([Alarm(f"Column {name}", "Correct")])]
        write_page("\n\n".join(parts), Path(folder, "a.md"), view)
        page = view.read_text()
    main = ElementTree.fromstring(page[page.index("<main") : page.rindex("</html>")])
    name = "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
    cells, lines = (
        [without_blanks("".join(part.itertext())) for part in main.iter(kind)]
        for kind in ("td", "li")
    )
    assert cells == [without_blanks(name), "1"]
    expected = f"of {name}, too", f"Column {name}. Correct."
    assert lines == list(map(without_blanks, expected))
    kinds = "main h1 div table thead tbody tr th td ul li p strong"
    assert {element.tag for element in main.iter()} <= {*kinds.split()}


def test_alarms_are_logged_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    warn_of([ALARM], Path("results/full/data.md"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    for text in (ALARM.text, ALARM.advice, "results/full/data.md"):
        assert text in record.getMessage()


# Made-up metrics and histories of models, to be drawn.
LONG = "a name that is far too long for $any axis " * 4 + "한국\n"
ABOUT = {"full_name": f"full/{LONG}", "simulated_data": True}


RANDOM = np.random.default_rng(0)
TRUE = RANDOM.normal(-4.2, 0.8, 20_000)
# 2 % clicks, and logits with an AUC of about 0.7.
LABEL = (RANDOM.random(20_000) < 1 / (1 + np.exp(-TRUE))).astype(np.uint8)
LOGIT = (TRUE + RANDOM.normal(0, 0.3, 20_000)).astype(np.float32)


def entry(value: float | None) -> dict[str, float | None]:
    low, high = (None, None) if value is None else (value - 0.01, value + 0.01)
    return {"value": value, "low": low, "high": high}


def measured(slices: dict[str, Any] | None = None, **values: float | None) -> dict[str, Any]:
    values = {"auc": 0.7, "average_precision": 0.05, "calibration_error": 0.001} | values
    metrics = {name: entry(value) for name, value in values.items()}
    return ABOUT | {"metrics": metrics, "slices": slices or {}}


def slice_of(name: str, rows: int, auc: float | None = None) -> dict[str, Any]:
    return {"slice": name, "rows": rows, "clicks": rows // 9, "auc": entry(auc)}


def history(evaluations: int) -> pd.DataFrame:
    i = np.arange(evaluations)
    columns = {"epoch": i + 1, "step": 1234 * (i + 1), "train_loss": 0.1 - 0.001 * i}
    # The third is the best.
    columns |= {"auc": 0.7 - 0.001 * (i - 2) ** 2, "logloss": 0.09 + 0.001 * (i - 2) ** 2}
    return pd.DataFrame(columns).assign(monitor=columns["auc"] - 0.1)


def importance(columns: int, chance: float | None = 0.01) -> dict[str, Any]:
    """The losses of that many columns, told apart from chance where there is one."""
    lost = [entry(chance and 0.1 / (1 + i)) | {"p_value": chance} for i in range(columns)]
    changes = [{"changed": f"{LONG} {i}", "auc_lost": of} for i, of in enumerate(lost)]
    about = {"rows": 5_000, "clicks": 97, "auc": entry(chance and 0.7)}
    return about | {"changes": changes}


def models(*names: str, **given: Any) -> pd.DataFrame:
    """Rows of comparison.csv for these models; `given` replaces columns."""
    auc = 0.75 - 0.002 * np.arange(len(names))
    values = {
        "size": "full",
        "model": names,
        "simulated_data": True,
        "valid_rows": 5_000,
        "valid_clicks": 97,
        "auc": auc,
        "auc_low": auc - 0.01,
        "auc_high": auc + 0.01,
        "metric": "auc",
        "behind_p_value": 0.5,
    }
    return pd.DataFrame(values | given)


UNKNOWN = dict.fromkeys(("auc", "auc_low", "auc_high"), math.nan)
MANY = [f"len{n}-{v}{'_and_more' * 6}" for v in "abcdefghij" for n in (50, 150, 500)]
SLICES = {
    LONG: [slice_of(f"{LONG} {i}", 10**8 + i, 0.7) for i in range(300)],
    "hour": [slice_of(f"{i}", 9, 0.6 + 0.001 * i) for i in range(9)],
    "none": [slice_of("a", 9), slice_of("", 0)],
}
DRAWN: dict[str, Callable[[], Figure]] = {
    "learning curves": lambda: learning_curves_plot(history(5), measured()),
    "one evaluation": lambda: learning_curves_plot(history(1), measured()),
    "calibration": lambda: calibration_plot(LABEL, LOGIT, measured()),
    "calibration of no click": lambda: calibration_plot(0 * LABEL, LOGIT, measured()),
    "calibration of huge logits": lambda: calibration_plot(
        LABEL, np.clip(80 * (LOGIT + 4), -80, 80), measured(calibration_error=None)
    ),
    "slices": lambda: slices_plot(measured(SLICES)),
    "an unknown slice": lambda: slices_plot(measured({"a": [slice_of("b", 9)]}, auc=None)),
    "importance": lambda: importance_plot(importance(200), ABOUT),
    "importance of one click": lambda: importance_plot(importance(2, None), ABOUT),
} | {
    f"{plot.__name__} of {which}": partial(plot, facts)
    for plot in (click_rates_plot, drift_plot)
    for which, facts in {
        "long names": plain_facts(LONG),
        "few data": plain_facts(columns=1, clicks={"train": 0, "valid": 1}),
    }.items()
}
DRAWN |= {
    f"models_plot of {len(table)}": partial(models_plot, table)
    for table in (models(*MANY), models("len7", **UNKNOWN))
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_fits_on_its_page_and_says_that_data_are_simulated(name: str) -> None:
    figure = DRAWN[name]()
    FigureCanvasAgg(figure).draw()
    seen = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
    assert any(SIMULATED_PLOT in text for text in seen)
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.05, box
    for ax in figure.axes:
        size = ax.get_window_extent()
        assert min(size.width, size.height) / figure.dpi > 0.2, ax


def test_plots_of_a_model_are_the_same_bytes_for_the_same_input(tmp_path: Path) -> None:
    put_predictions(tmp_path / "valid.parquet", LABEL, LOGIT)
    slices = {"hour": SLICES["hour"][:2]}
    write_json(tmp_path / "metrics.json", measured(slices) | {"simulated_data": False})
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        outputs = [folder / f"{name}.svg" for name in ("calibration", "slices")]
        plot_model(tmp_path / "valid.parquet", tmp_path / "metrics.json", *outputs)
        made.append([path.read_bytes() for path in outputs])
    assert made[0] == made[1]
    assert max(map(len, made[0])) < 300_000


def test_binned_clicks_hold_all_rows_and_equal_predictions_share_one() -> None:
    bins = binned_clicks(LABEL, LOGIT)
    assert len(bins) == 20
    assert bins[["clicks", "rows"]].sum().tolist() == [LABEL.sum(), len(LABEL)]
    assert np.ptp(bins["rows"]) <= 2
    for row in bins.itertuples():
        wilson = binomtest(row.clicks, row.rows).proportion_ci(0.95, "wilson")
        assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high), abs=0.001)
    tied = binned_clicks(LABEL, np.repeat([-3.0, -5.0], len(LABEL) // 2))
    assert tied["predicted"].tolist() == pytest.approx([1 / (1 + math.exp(x)) for x in (5, 3)])


def test_intervals_are_red_where_significant_and_hollow_where_unknown() -> None:
    lost = [entry(0.1) | {"p_value": p_value} for p_value in (0.001, 0.4, None)]
    changes = [{"changed": "column", "auc_lost": of} for of in lost]
    (ax,) = importance_plot(importance(0) | {"changes": changes}, ABOUT).axes
    bars, points = ax.collections
    assert points.get_offsets().tolist() == [[0.1, 0], [0.1, 1], [0.1, 2]]
    assert np.array(bars.get_segments())[:, :, 0] == pytest.approx(np.array([[0.09, 0.11]] * 3))
    expected = [to_rgba(VERMILION), to_rgba(BLUE), to_rgba("none")]
    assert points.get_facecolors().tolist() == np.array(expected).tolist()


def test_models_are_drawn_in_the_order_of_the_table_and_named_by_size() -> None:
    table = models("boosting", "len7", "constant", auc=[0.8, 0.7, 0.5], size=["full", "toy", "toy"])
    names = [
        [label.get_text().split() for label in ax.get_yticklabels()]
        for ax in models_plot(table).axes
    ]
    assert names == [[["boosting", "0.8000"]], [["len7", "0.7000"]]]
