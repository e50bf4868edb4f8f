"""Plots say what their inputs say, are legible whatever these are, and the same for the same."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from feseq.common.errors import UserError
from feseq.common.files import write_json
from feseq.report.data_page import click_rates_plot, drift_plot, lengths_plot, missing_plot
from feseq.report.plots.one_model import (
    attention_plot,
    calibration_bins,
    calibration_plot,
    importance_plot,
    learning_curves_plot,
    plot_model,
    roc_pr_plot,
    slices_plot,
)
from feseq.report.plots.style import BLUE, SIMULATED, VERMILION
from feseq.report.summary import aucs_plot
from support.facts import plain_facts
from support.plots import (
    ABOUT,
    LABEL,
    LOGIT,
    LONG,
    ONE_CLICK,
    attention,
    drawn_texts,
    history,
    importance,
    measured,
    models,
    slice_of,
)
from support.predictions import put_predictions

UNKNOWN = dict.fromkeys(("auc", "auc_low", "auc_high"), math.nan)
MANY = [f"len{n}-{v}{'_and_more' * 6}" for v in "abcdefghij" for n in (50, 150, 500)]
SLICES = {
    LONG: [slice_of(f"{LONG} {i}", 10**8 + i, 0.7) for i in range(300)],
    "hour": [slice_of(f"{i}", 9, 0.6 + 0.001 * i) for i in range(9)],
    "none": [slice_of("a", 9), slice_of("", 0)],
}
PLOTS: dict[str, Callable[[], Figure]] = {
    "learning curves": lambda: learning_curves_plot(history(5), measured()),
    "one evaluation": lambda: learning_curves_plot(history(1), measured()),
    "curves": lambda: roc_pr_plot(LABEL, LOGIT, measured()),
    "curves of one click": lambda: roc_pr_plot(ONE_CLICK, LOGIT, measured(auc=None)),
    "curves of no click": lambda: roc_pr_plot(0 * LABEL, LOGIT, measured(auc=None)),
    "curves of a constant": lambda: roc_pr_plot(LABEL, 0 * LOGIT, measured(auc=0.5)),
    "calibration": lambda: calibration_plot(LABEL, LOGIT, measured()),
    "calibration of no click": lambda: calibration_plot(0 * LABEL, LOGIT, measured()),
    "calibration of clicks": lambda: calibration_plot(0 * LABEL + 1, LOGIT, measured()),
    "calibration of huge logits": lambda: calibration_plot(
        LABEL, np.clip(80 * (LOGIT + 4), -80, 80), measured(calibration_error=None)
    ),
    "slices": lambda: slices_plot(measured(SLICES)),
    "an unknown slice": lambda: slices_plot(measured({"a": [slice_of("b", 9)]}, auc=None)),
    "importance": lambda: importance_plot(importance(200), ABOUT),
    "importance of one click": lambda: importance_plot(importance(2, None), ABOUT),
    "attention": lambda: attention_plot(attention("abcde", 400), ABOUT),
    "attention of fields": lambda: attention_plot(attention([LONG] * 12, 0), ABOUT),
    "attention to the target": lambda: attention_plot(attention("a", 1), ABOUT),
    "30 AUCs": lambda: aucs_plot(models(*MANY)),
    "no AUC": lambda: aucs_plot(models("constant", **UNKNOWN)),
    "nothing missing": lambda: missing_plot(plain_facts(missing_blocks=[])),
} | {
    f"{plot.__name__} of {which}": partial(plot, facts)
    for plot in (click_rates_plot, missing_plot, lengths_plot, drift_plot)
    for which, facts in {
        "long names": plain_facts(LONG),
        "few data": plain_facts(columns=1, clicks={"train": 0, "valid": 1}),
    }.items()
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_fits_on_its_page_and_says_that_data_are_simulated(name: str) -> None:
    figure = PLOTS[name]()
    assert any(SIMULATED in text.get_text() for text in drawn_texts(figure))
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.05, box
    for ax in figure.axes:
        size = ax.get_window_extent()
        assert min(size.width, size.height) / figure.dpi > 0.2, ax


def test_the_same_input_gives_the_same_bytes_and_no_date(tmp_path: Path) -> None:
    put_predictions(tmp_path / "valid.parquet", LABEL, LOGIT)
    slices = {"hour": SLICES["hour"][:2]}
    write_json(tmp_path / "metrics.json", measured(slices) | {"simulated_data": False})
    for folder in (tmp_path / "a", tmp_path / "b"):
        outputs = [folder / f"{name}.svg" for name in ("roc_pr", "calibration", "slices")]
        plot_model(tmp_path / "valid.parquet", tmp_path / "metrics.json", *outputs)
    made = sorted((tmp_path / "a").iterdir())
    assert len(made) == 3
    for file in made:
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
        assert b"<dc:date>" not in file.read_bytes()
        assert file.stat().st_size < 300_000


def test_learning_curves_mark_the_evaluation_with_the_best_monitor() -> None:
    rows = history(6)
    for ax in learning_curves_plot(rows, measured()).axes:
        (marked,) = (line for line in ax.get_lines() if line.get_linestyle() == ":")
        assert list(marked.get_xdata()) == [rows["step"][2]] * 2


def test_the_areas_below_the_curves_are_auc_and_average_precision() -> None:
    for logit in (LOGIT, np.round(LOGIT), 0 * LOGIT):
        roc, pr = roc_pr_plot(LABEL, logit, measured()).axes
        false, true = roc.get_lines()[0].get_data()
        assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(LABEL, logit))
        recall, precision = pr.get_lines()[0].get_data()
        area = -(np.diff(recall) * precision[:-1]).sum()
        assert area == pytest.approx(average_precision_score(LABEL, logit))


def test_calibration_bins_hold_all_rows_and_equal_predictions_share_one() -> None:
    bins = calibration_bins(LABEL, LOGIT)
    assert len(bins) == 20
    assert bins[["clicks", "rows"]].sum().tolist() == [LABEL.sum(), len(LABEL)]
    assert np.ptp(bins["rows"]) <= 2
    for row in bins.itertuples():
        wilson = binomtest(row.clicks, row.rows).proportion_ci(0.95, "wilson")
        assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high), abs=0.001)
    tied = calibration_bins(LABEL, np.repeat([-3.0, -5.0], len(LABEL) // 2))
    assert tied["predicted"].tolist() == pytest.approx([1 / (1 + math.exp(x)) for x in (5, 3)])


def test_intervals_are_red_where_significant_and_hollow_where_unknown() -> None:
    slices = [slice_of(f"s{i}", 900, 0.6, chance) for i, chance in enumerate((0.001, 0.4, None))]
    (ax,) = slices_plot(measured({"column": slices})).axes
    bars, points = ax.collections
    assert points.get_offsets().tolist() == [[0.6, 0], [0.6, 1], [0.6, 2]]
    assert np.array(bars.get_segments())[:, :, 0] == pytest.approx(np.array([[0.59, 0.61]] * 3))
    expected = [to_rgba(VERMILION), to_rgba(BLUE), to_rgba("none")]
    assert points.get_facecolors().tolist() == np.array(expected).tolist()


def test_attention_to_positions_is_drawn_as_given_without_rare_ones() -> None:
    content = attention((), 200)
    (ax,) = attention_plot(content, ABOUT).axes
    target, events = ax.get_lines()
    weights = [entry["weight"] for entry in content["positions"]]
    assert list(target.get_ydata()) == [weights[0]] * 2
    # 1,000 // (i + 1) rows of 1,000 are 1 % up to position 99.
    assert events.get_xydata().tolist() == [[i, weights[i]] for i in range(1, 100)]


def test_a_model_without_attention_is_told_which_settings_give_it() -> None:
    with pytest.raises(UserError, match=r"interaction: autoint.*pooling: weighted_sum"):
        attention_plot(attention((), 0), ABOUT)


def test_models_are_drawn_in_the_order_of_the_table_and_named_by_size() -> None:
    table = models("boosting", "len7", "constant", auc=[0.8, 0.7, 0.5], size=["full", "toy", "toy"])
    full, toy = aucs_plot(table).axes
    names = [[label.get_text().split() for label in ax.get_yticklabels()] for ax in (full, toy)]
    assert names == [[["boosting", "0.8000"]], [["len7", "0.7000"], ["constant", "0.5000"]]]
    # Chance is outside: it would press the others together.
    assert toy.get_xlim()[0] > 0.6
