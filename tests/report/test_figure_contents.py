"""Figures say what their inputs say."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_curve

from feseq.common.errors import UserError
from feseq.common.files import write_json
from feseq.common.parquet import write_table
from feseq.report.figures.all_models import (
    aucs_figure,
    by_max_len_figure,
    speed_figure,
)
from feseq.report.figures.attention_maps import attention_figure, plot_attention
from feseq.report.figures.one_model import (
    calibration_bins,
    calibration_figure,
    learning_curves_figure,
    plot_model,
    roc_pr_figure,
    slices_figure,
)
from feseq.report.figures.style import BLUE, GREY, VERMILION, short
from support.figures import (
    LABEL,
    LOGIT,
    LONG,
    ONE_CLICK,
    attention,
    clicks,
    drawn_texts,
    history,
    metrics,
    models,
    points,
    predictions,
    row_names,
    slice_of,
)


def test_learning_curves_mark_the_evaluation_with_the_best_monitor() -> None:
    rows = history(6)
    losses, aucs = learning_curves_figure(rows, metrics()).axes
    assert points(losses, "s") == rows[["step", "train_loss"]].to_numpy().tolist()
    assert points(losses, "o") == rows[["step", "logloss"]].to_numpy().tolist()
    assert points(aucs, "o") == rows[["step", "auc"]].to_numpy().tolist()
    for ax in (losses, aucs):
        (marked,) = (line for line in ax.get_lines() if line.get_linestyle() == ":")
        assert list(marked.get_xdata()) == [rows["step"][2]] * 2


@pytest.mark.parametrize("logit", [LOGIT, 0 * LOGIT, np.round(LOGIT), -LOGIT], ids=range(4))
def test_the_areas_below_the_curves_are_auc_and_average_precision(logit: np.ndarray) -> None:
    for label in (LABEL, ONE_CLICK):
        roc, pr = roc_pr_figure(label, logit, metrics()).axes
        false, true, _ = roc_curve(label, logit)
        assert np.trapezoid(*roc.get_lines()[0].get_data()[::-1]) == pytest.approx(
            np.trapezoid(true, false)
        )
        recall, precision = pr.get_lines()[0].get_data()
        area = (-np.diff(recall, append=0) * precision).sum()
        assert area == pytest.approx(average_precision_score(label, logit))


def test_curves_of_many_rows_make_small_files(tmp_path: Path) -> None:
    label, logit = clicks(300_000)
    table = predictions(label, logit)
    write_table(table, tmp_path / "valid.parquet")
    write_json(tmp_path / "metrics.json", metrics())
    outputs = [tmp_path / f"{name}.svg" for name in "abc"]
    plot_model(tmp_path / "valid.parquet", tmp_path / "metrics.json", None, None, *outputs)
    assert max(output.stat().st_size for output in outputs) < 300_000


def test_calibration_bins_hold_all_rows_and_equal_predictions_share_one() -> None:
    bins = calibration_bins(LABEL, LOGIT)
    assert len(bins) == 20
    assert bins[["clicks", "rows"]].sum().tolist() == [LABEL.sum(), len(LABEL)]
    assert np.ptp(bins["rows"]) <= 2
    assert bins["predicted"].is_monotonic_increasing
    for row in bins.itertuples():
        wilson = binomtest(row.clicks, row.rows).proportion_ci(0.95, "wilson")
        assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    tied = calibration_bins(LABEL, np.repeat([-3.0, -5.0], len(LABEL) // 2))
    expected = [1 / (1 + math.exp(5)), 1 / (1 + math.exp(3))]
    assert tied["predicted"].tolist() == pytest.approx(expected)
    assert len(calibration_bins(ONE_CLICK, LOGIT)) == 5


@pytest.mark.parametrize("label", [LABEL, ONE_CLICK, 0 * LABEL], ids=["some", "one", "none"])
def test_every_bin_of_the_calibration_is_drawn(label: np.ndarray) -> None:
    (ax,) = calibration_figure(label, LOGIT, metrics()).axes
    bins = calibration_bins(label, LOGIT)
    assert len(points(ax, "o")) == (bins["clicks"] > 0).sum()
    assert len(points(ax, "v")) == (bins["clicks"] == 0).sum()


def test_slices_are_drawn_in_their_order_with_their_intervals_and_counts() -> None:
    slices = [slice_of(f"s{i}", 1800 * (i + 1), auc) for i, auc in enumerate((0.6, 0.8, 0.7))]
    (ax,) = slices_figure(metrics({"column": slices})).axes
    assert points(ax, "o") == [[0.6, 0], [0.8, 1], [0.7, 2]]
    bars = np.array(ax.collections[0].get_segments())[:, :, 0]
    assert bars == pytest.approx(np.array([[0.59, 0.61], [0.79, 0.81], [0.69, 0.71]]))
    assert row_names(ax)[1] == "s1 (400 of 3,600)"


def test_slices_look_as_they_are_told_apart() -> None:
    """Many clicks and a low chance; a high one; too few clicks."""
    chances = (0.001, 0.4, None)
    slices = [slice_of(f"s{i}", 900, 0.6, chance) for i, chance in enumerate(chances)]
    figure = slices_figure(metrics({"column": slices}))
    looks = {
        line.get_ydata()[0]: (line.get_color(), line.get_markerfacecolor())
        for line in figure.axes[0].get_lines()
        if line.get_marker() == "o"
    }
    assert looks == {0: (VERMILION, VERMILION), 1: (BLUE, BLUE), 2: (GREY, "none")}
    assert any("among 3 slices" in text.get_text() for text in drawn_texts(figure))


def test_the_figure_of_aucs_says_how_many_clicks_they_rest_on() -> None:
    table = models("len5", "len6", size=["full", "toy"], enough_clicks=[True, False])
    (note,) = (t.get_text() for t in drawn_texts(aucs_figure(table)) if "Clicks" in t.get_text())
    assert "full 97 of 5,000 rows; toy 97 of 5,000 rows, too few to compare" in note


def test_of_many_slices_the_largest_are_drawn() -> None:
    slices = [slice_of(f"s{i}", 100 + (i * 7) % 40, 0.7) for i in range(40)]
    (ax,) = slices_figure(metrics({"column": slices})).axes
    largest = [s["slice"] for s in slices if s["rows"] >= 132]
    assert [name.split()[0] for name in row_names(ax)] == largest


def test_the_heat_map_has_every_weight_and_field() -> None:
    content = attention("abcde", 0)
    (ax,) = attention_figure(content, LONG, simulated=False).axes
    assert np.asarray(ax.collections[0].get_array()).tolist() == content["field_attention"]
    assert ax.yaxis_inverted()  # the first row at the top
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[(1.5, 3.5)] == f"{content['field_attention'][3][1]:.2f}"
    assert row_names(ax) == list("abcde")
    assert [label.get_text() for label in ax.get_xticklabels()] == list("abcde")


def test_positions_are_drawn_as_given_and_rare_ones_grey() -> None:
    content = attention((), 200)
    (ax,) = attention_figure(content, LONG, simulated=False).axes
    target, everything, common = ax.get_lines()
    weights = {entry["position"]: entry["weight"] for entry in content["positions"]}
    assert list(target.get_ydata()) == [weights.pop(0)] * 2
    assert dict(np.asarray(everything.get_xydata()).tolist()) == weights
    # 1,000 // (i + 1) rows of 1,000 are 1 % up to position 99.
    assert common.get_xdata().tolist() == list(range(1, 100))


def test_a_model_without_attention_is_told_which_settings_give_it(tmp_path: Path) -> None:
    path = tmp_path / "attention.json"
    write_json(path, attention((), 0))
    with pytest.raises(UserError, match=r"interaction: autoint.*pooling: weighted_sum"):
        plot_attention(path, None, tmp_path / "attention.svg")


def test_aucs_are_drawn_in_the_order_of_the_table_and_chance_at_the_edge() -> None:
    table = models("boosting", "len7", "constant", auc=[0.8, 0.7, 0.5])
    (ax,) = aucs_figure(table).axes
    assert [name.split() for name in row_names(ax)] == [
        ["boosting", "0.8000"],
        ["len7", "0.7000"],
        ["constant", "0.5000"],
    ]
    assert points(ax, "o") == [[0.7, 1]]
    assert points(ax, "s") == [[0.8, 0]]
    assert [0.0, 2.0] in points(ax, "<")
    assert ax.get_xlim()[0] > 0.6


def test_a_line_by_max_len_holds_the_models_of_one_size_and_variant() -> None:
    table = models("len500", "len100", "len500-deep", "constant", train_seconds=[40, 10, 60, 1])
    for ax, column in zip(
        by_max_len_figure(table).axes, ("auc", "epoch_seconds", "peak_memory_gib")
    ):
        value = table[column]
        assert points(ax, "o") == [[100, value[1]], [500, value[0]]]
        assert points(ax, "s") == [[500, value[2]]]


def test_speeds_stand_beside_their_bars() -> None:
    table = models("len5", "constant", train_samples_per_second=[12_345.0, math.nan])
    training = speed_figure(table).axes[0]
    assert [text.get_text() for text in training.texts] == ["12,300", "not measured"]
    assert training.patches[0].get_width() == 12_345


def test_sizes_are_named_where_there_are_several() -> None:
    table = models("len5", "len5", size=["full", "toy"])
    names = row_names(speed_figure(table).axes[0])
    assert names == ["full len5", "toy len5"]


def test_names_are_cut_in_their_middle() -> None:
    assert short("short") == "short"
    assert short("한\n$") == r"\ud55c\n$"
    assert len(short(LONG, 20)) == 20


def test_hours_are_drawn_in_their_order_and_other_numbers_are_not() -> None:
    hours = [slice_of(f"{i:02}", 90, 0.6 + 0.001 * i) for i in range(24)]
    codes = [slice_of(f"{i * i}", 90, 0.7) for i in range(24)]
    first, other = slices_figure(metrics({"hour": hours, "code": codes})).axes
    assert points(first, "o") == [[i, pytest.approx(0.6 + 0.001 * i)] for i in range(24)]
    assert len(row_names(other)) == 8
