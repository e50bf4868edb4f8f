"""Figures say what their inputs say, legibly, whatever the inputs are."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_curve

from feseq.common.errors import UserError
from feseq.common.files import write_json
from feseq.common.parquet import write_table
from feseq.report.figures.all_models import (
    aucs_figure,
    by_max_len_figure,
    plot_comparison,
    speed_figure,
    with_labels,
)
from feseq.report.figures.attention_maps import attention_figure, plot_attention
from feseq.report.figures.data import (
    click_rates_figure,
    drift_figure,
    lengths_figure,
    missing_figure,
)
from feseq.report.figures.one_model import (
    calibration_bins,
    calibration_figure,
    learning_curves_figure,
    plot_model,
    roc_pr_figure,
    slices_figure,
)
from feseq.report.figures.style import BLUE, GREY, SIMULATED, VERMILION, short
from support.facts import plain_facts

LONG = "a name that is far too long for $any axis " * 4 + "한국\n"


def clicks(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels with 2 % clicks and logits with an AUC of about 0.7."""
    random = np.random.default_rng(0)
    logit = random.normal(-4.2, 0.8, rows)
    label = random.random(rows) < 1 / (1 + np.exp(-logit))
    return label.astype(np.uint8), (logit + random.normal(0, 0.3, rows)).astype(np.float32)


def predictions(label: np.ndarray, logit: np.ndarray) -> pa.Table:
    rows = {"row": np.arange(len(label)), "judges": np.ones(len(label), bool)}
    return pa.table({**rows, "label": label, "logit": logit})


def entry(value: float | None) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def metrics(slices: dict[str, Any] | None = None, **values: float | None) -> dict[str, Any]:
    values = {"auc": 0.7, "average_precision": 0.05, "calibration_error": 0.001} | values
    return {
        "confidence": 0.95,
        "simulated_data": True,
        "metrics": {name: entry(value) for name, value in values.items()},
        "slices": slices or {},
    }


def slice_of(
    name: str, rows: int, auc: float | None = None, chance: float | None = 0.5
) -> dict[str, Any]:
    apart = auc and entry(auc - 0.7) | {"chance": chance}
    known = {"auc": auc and entry(auc), "apart": apart}
    return {"slice": name, "rows": rows, "clicks": rows // 9, **known}


def history(evaluations: int, weight: float = 1.0) -> pd.DataFrame:
    i = np.arange(evaluations)
    fall = 0.001 * (i - 2) ** 2
    return pd.DataFrame(
        {
            "epoch": i + 1,
            "step": 1234 * (i + 1),
            "train_loss": weight * (0.1 - 0.001 * i),
            "auc": 0.7 - fall,
            "logloss": 0.09 + fall,
            "monitor": 0.6 - fall,
        }
    )


def attention(fields: Sequence[str], positions: int) -> dict[str, Any]:
    weights = np.random.default_rng(0).dirichlet(np.ones(max(1, len(fields))), len(fields))
    return {
        "rows": 1000,
        "fields": list(fields),
        "field_attention": weights.tolist() if fields else None,
        "positions": [
            {"position": i, "weight": 0.5 / (i + 1), "rows": 1000 // (i + 1)}
            for i in range(positions)
        ]
        or None,
    }


def models(*names: str, **given: Any) -> pd.DataFrame:
    """Rows of comparison.csv for these models; `given` replaces columns."""
    auc = 0.75 - 0.002 * np.arange(len(names))
    values = {
        "size": "full",
        "model": names,
        "kind": ["feseq" if name.startswith("len") else "baseline" for name in names],
        "simulated_data": True,
        "unseen": False,
        "valid_rows": 5_000,
        "valid_clicks": 97,
        "enough_clicks": True,
        "auc_behind": auc[0] - auc,
        "score_gain": 0.0,
        "auc": auc,
        "auc_low": auc - 0.01,
        "auc_high": auc + 0.01,
        "train_samples_per_second": 1234.0,
        "predict_samples_per_second": 5678.0,
        "train_seconds": 90.0,
        "epochs": 3,
        "peak_memory_mib": 1536.0,
        "device": "cpu",
        **dict.fromkeys(("score", "score_balanced", "auc_blanked", "share_of_best"), 0.5),
    }
    return with_labels(pd.DataFrame(values | given))


MEASURED = ("auc", "auc_low", "auc_high", "train_samples_per_second", "predict_samples_per_second")
UNKNOWN = dict.fromkeys((*MEASURED, "train_seconds", "peak_memory_mib", "device"), math.nan)
MANY = [f"len{n}-{v}{'_and_more' * 6}" for v in "abcdefghij" for n in (50, 150, 500)]
LABEL, LOGIT = clicks()
ONE_CLICK = (np.arange(len(LOGIT)) == 77).astype(np.uint8)
MANY_SLICES = {
    LONG: [slice_of(f"{LONG} {i}", 10**8 + i, 0.7) for i in range(300)],
    "hour": [slice_of(f"{i}", 9, 0.6 + 0.001 * i) for i in range(9)],
    "none": [slice_of("a", 9), slice_of("", 0)],
}
FIGURES: dict[str, Callable[[], Figure]] = {
    "learning curves": lambda: learning_curves_figure(history(5), 97, simulated=True),
    "one evaluation": lambda: learning_curves_figure(history(1), 97, simulated=True),
    "many evaluations": lambda: learning_curves_figure(history(90), 97, simulated=True),
    "a weighted loss": lambda: learning_curves_figure(history(5, 30), 97, simulated=True),
    "curves": lambda: roc_pr_figure(LABEL, LOGIT, metrics()),
    "curves of one click": lambda: roc_pr_figure(ONE_CLICK, LOGIT, metrics(auc=None)),
    "curves of a constant": lambda: roc_pr_figure(LABEL, 0 * LOGIT, metrics(auc=0.5)),
    "calibration": lambda: calibration_figure(LABEL, LOGIT, metrics()),
    "calibration of one click": lambda: calibration_figure(ONE_CLICK, LOGIT, metrics()),
    "calibration of no click": lambda: calibration_figure(0 * LABEL, LOGIT, metrics()),
    "calibration of clicks": lambda: calibration_figure(0 * LABEL + 1, LOGIT, metrics()),
    "calibration of a constant": lambda: calibration_figure(
        LABEL, 0 * LOGIT - 4, metrics(calibration_error=None)
    ),
    "calibration of huge logits": lambda: calibration_figure(
        LABEL, np.clip(80 * (LOGIT + 4), -80, 80), metrics()
    ),
    "slices": lambda: slices_figure(metrics(MANY_SLICES)),
    "an unknown slice": lambda: slices_figure(metrics({"a": [slice_of("b", 9)]}, auc=None)),
    "attention": lambda: attention_figure(attention("abcde", 400), simulated=True),
    "attention of fields": lambda: attention_figure(attention([LONG] * 12, 0), simulated=True),
    "attention of positions": lambda: attention_figure(attention((), 30), simulated=True),
    "attention to the target": lambda: attention_figure(attention("a", 1), simulated=True),
    "30 AUCs": lambda: aucs_figure(models(*MANY)),
    "AUC of one model": lambda: aucs_figure(models("len5")),
    "no AUC": lambda: aucs_figure(models("constant", **UNKNOWN)),
    "max_len": lambda: by_max_len_figure(models(*MANY)),
    "one max_len": lambda: by_max_len_figure(models("len5")),
    "far max_len": lambda: by_max_len_figure(models("len100", "len101", "len20000")),
    "speed": lambda: speed_figure(models(*MANY)),
    "no speed": lambda: speed_figure(models("constant", **UNKNOWN)),
    "a speed far off": lambda: speed_figure(
        models("len5", "constant", train_samples_per_second=[9.5, 9e9])
    ),
}
FIGURES |= {
    f"{what.__name__} of {which}": partial(what, facts)
    for what in (click_rates_figure, missing_figure, lengths_figure, drift_figure)
    for which, facts in {
        "data": plain_facts(),
        "long names": plain_facts(LONG),
        "few data": plain_facts(columns=1, clicks={"train": 0, "valid": 1}),
    }.items()
}
WITHOUT_AXES: dict[str, Callable[[], Figure]] = {
    "curves of no click": lambda: roc_pr_figure(0 * LABEL, LOGIT, metrics(auc=None)),
    "no slices": lambda: slices_figure(metrics()),
    "no max_len": lambda: by_max_len_figure(models("constant")),
    "nothing missing": lambda: missing_figure(plain_facts(missing_blocks=[])),
    "nothing known by max_len": lambda: by_max_len_figure(models("len5", **UNKNOWN)),
}


def drawn_texts(figure: Figure) -> list[Text]:
    """All texts that are seen, once the figure is laid out."""
    FigureCanvasAgg(figure).draw()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def points(ax: Axes, marker: str) -> list[list[float]]:
    """Where the points of this marker are."""
    lines = [line for line in ax.get_lines() if line.get_marker() == marker]
    return [xy for line in lines for xy in np.asarray(line.get_xydata()).tolist()]


def row_names(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_labelled_axes_with_ticks_and_data_and_its_mark(name: str) -> None:
    figure = FIGURES[name]()
    assert any(SIMULATED in text.get_text() for text in drawn_texts(figure))
    assert figure.axes
    for ax in figure.axes:
        low, high = sorted(ax.get_xlim())
        assert sum(low <= tick <= high for tick in ax.get_xticks()) >= 1, ax
        low, high = sorted(ax.get_ylim())
        assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 1, ax
        assert any(of.get_xlabel() for of in ax.get_shared_x_axes().get_siblings(ax)), ax
        has_row_names = isinstance(ax.yaxis.get_major_locator(), FixedLocator)
        assert ax.get_ylabel() or has_row_names, ax
        assert ax.has_data(), ax
        box = ax.get_window_extent()
        assert min(box.width, box.height) / figure.dpi > 0.2, ax


@pytest.mark.parametrize("name", [*FIGURES, *WITHOUT_AXES])
def test_no_text_of_a_figure_is_cut_off(name: str) -> None:
    figure = (FIGURES | WITHOUT_AXES)[name]()
    FigureCanvasAgg(figure).draw()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02, box


@pytest.mark.parametrize("name", ["30 AUCs", "speed", "slices", "drift_figure of long names"])
def test_names_of_rows_do_not_lie_on_one_another(name: str) -> None:
    figure = FIGURES[name]()
    drawn_texts(figure)
    for ax in figure.axes:
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_what_cannot_be_drawn_is_said() -> None:
    for name, figure in WITHOUT_AXES.items():
        assert not figure().axes, name
        assert len(drawn_texts(figure())) == 2, name


def test_real_data_have_no_mark() -> None:
    for figure in (
        learning_curves_figure(history(5), 97, simulated=False),
        roc_pr_figure(LABEL, LOGIT, metrics() | {"simulated_data": False}),
        aucs_figure(models("len5", simulated_data=False)),
    ):
        assert not any(SIMULATED in text.get_text() for text in drawn_texts(figure))


def test_the_same_input_gives_the_same_bytes_and_no_date(tmp_path: Path) -> None:
    table = predictions(LABEL, LOGIT)
    write_table(table, tmp_path / "valid.parquet")
    slices = {"hour": [slice_of(f"{i}", 9, 0.6) for i in range(5)]}
    write_json(tmp_path / "metrics.json", metrics(slices))
    history(4).to_csv(tmp_path / "history.csv", index=False)
    models("len5", "constant").to_csv(tmp_path / "comparison.csv", index=False)
    names = ("learning_curves", "roc_pr", "calibration", "slices")
    for folder in (tmp_path / "a", tmp_path / "b"):
        plot_model(
            tmp_path / "valid.parquet",
            tmp_path / "metrics.json",
            tmp_path / "history.csv",
            *(folder / f"{name}.svg" for name in names),
        )
        outputs = [folder / f"{name}.svg" for name in ("aucs", "by_max_len", "speed")]
        plot_comparison(tmp_path / "comparison.csv", *outputs)
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == 7
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
        assert file.read_bytes().startswith(b"<?xml")
        assert b"<dc:date>" not in file.read_bytes()


def test_a_model_without_history_has_no_learning_curves(tmp_path: Path) -> None:
    write_table(predictions(LABEL, LOGIT), tmp_path / "valid.parquet")
    write_json(tmp_path / "metrics.json", metrics())
    outputs = [tmp_path / "out" / f"{name}.svg" for name in "abc"]
    plot_model(tmp_path / "valid.parquet", tmp_path / "metrics.json", None, None, *outputs)
    assert sorted((tmp_path / "out").iterdir()) == outputs


def test_learning_curves_mark_the_evaluation_with_the_best_monitor() -> None:
    rows = history(6)
    losses, aucs = learning_curves_figure(rows, 97, simulated=True).axes
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
    (ax,) = attention_figure(content, simulated=False).axes
    assert np.asarray(ax.collections[0].get_array()).tolist() == content["field_attention"]
    assert ax.yaxis_inverted()  # the first row at the top
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[(1.5, 3.5)] == f"{content['field_attention'][3][1]:.2f}"
    assert row_names(ax) == list("abcde")
    assert [label.get_text() for label in ax.get_xticklabels()] == list("abcde")


def test_positions_are_drawn_as_given_and_rare_ones_grey() -> None:
    content = attention((), 200)
    (ax,) = attention_figure(content, simulated=False).axes
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
