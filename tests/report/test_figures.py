"""Figures say what their inputs say, legibly, whatever the inputs are."""

import csv
import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_curve

from feseq.common.errors import UserError
from feseq.common.files import write_json
from feseq.common.parquet import write_table
from feseq.report.figures import all_models as comparison
from feseq.report.figures.all_models import (
    auc_figure,
    max_len_figure,
    plot_comparison,
    speed_figure,
)
from feseq.report.figures.attention_maps import attention_figure, plot_attention
from feseq.report.figures.curves import (
    calibration_bins,
    calibration_figure,
    precision_steps,
    roc_pr_figure,
    thinned,
    wilson,
)
from feseq.report.figures.drawing import SIMULATED, fitted, inches, spread, wrapped
from feseq.report.figures.one_model import learning_curves_figure, plot_model, slices_figure

LONG = "a name that is far too long for any axis " * 4
NAN = math.nan


def clicks(rows: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels with 2 % clicks and logits with an AUC of about 0.7."""
    random = np.random.default_rng(seed)
    logit = random.normal(-4.2, 0.8, rows)
    label = random.random(rows) < 1 / (1 + np.exp(-logit))
    return label.astype(np.uint8), (logit + random.normal(0, 0.3, rows)).astype(np.float32)


def entry(value: float | None, width: float | None = 0.01) -> dict[str, float | None]:
    if value is None or width is None:
        return {"value": value, "low": None, "high": None}
    return {"value": value, "low": value - width, "high": value + width}


def metrics(slices: dict[str, Any] | None = None, **values: float | None) -> dict[str, Any]:
    values = {"auc": 0.7, "average_precision": 0.05, "calibration_error": 0.001} | values
    return {
        "confidence": 0.95,
        "simulated_data": True,
        "metrics": {name: entry(value) for name, value in values.items()},
        "slices": slices or {},
    }


def slice_of(name: str, rows: int, auc: float | None = None, clicked: int = 5) -> dict[str, Any]:
    return {"slice": name, "rows": rows, "clicks": clicked, "auc": auc and entry(auc)}


def history(evaluations: int, weight: float = 1.0) -> list[dict[str, float]]:
    return [
        {
            "epoch": i + 1,
            "step": 1234 * (i + 1),
            "train_loss": weight * (0.1 - 0.001 * i),
            "auc": 0.7 - 0.001 * (i - 2) ** 2,
            "logloss": 0.09 + 0.0001 * (i - 2) ** 2,
            "monitor": 0.6 - 0.001 * (i - 2) ** 2,
        }
        for i in range(evaluations)
    ]


def attention(fields: Sequence[str], positions: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "rows": 1000,
        "fields": list(fields),
        "field_attention": random.dirichlet(np.ones(len(fields)), len(fields)).tolist()
        if fields
        else None,
        "positions": [
            {"position": i, "weight": 0.5 / (i + 1), "rows": 1000 // (i + 1)}
            for i in range(positions)
        ]
        or None,
    }


def model(name: str, auc: float = 0.7, size: str = "full", **given: Any) -> comparison.Model:
    kind = "feseq" if name.startswith("len") else "baseline"
    values: dict[str, Any] = {
        "size": size,
        "name": name,
        "kind": kind,
        "auc": (auc, auc - 0.01, auc + 0.01),
        "train_speed": 1234.0,
        "predict_speed": 5678.0,
        "epoch_seconds": 90.0,
        "memory": 1.5,
        "device": "cpu",
    }
    return comparison.Model(**values | given)


def unknown(name: str) -> comparison.Model:
    """A model of which nothing is known."""
    nothing = dict.fromkeys(("train_speed", "predict_speed", "epoch_seconds", "memory"), NAN)
    return dataclasses.replace(model(name), auc=(NAN, NAN, NAN), device="", **nothing)


MANY = [
    model(f"len{length}-{variant}{'_and_more' * 6}", 0.6 + length / 5000, size)
    for size in ("medium", "full")
    for variant in "abcde"
    for length in (50, 150, 500)
]
LABEL, LOGIT = clicks()
ONE_CLICK = (np.arange(len(LOGIT)) == 77).astype(np.uint8)
MANY_SLICES = {
    LONG: [slice_of(f"{LONG} {i}", 10**8 + i, 0.7, clicked=10**7) for i in range(300)],
    "hour": [slice_of(f"{i}", 9, 0.6 + 0.001 * i) for i in range(9)],
    "none": [slice_of("a", 9, clicked=0), slice_of("b", 9, clicked=9), slice_of("", 0, clicked=0)],
}
HARD: dict[str, Any] = {
    "learning curves": lambda: learning_curves_figure(history(5), simulated=True),
    "one evaluation": lambda: learning_curves_figure(history(1), simulated=False),
    "many evaluations": lambda: learning_curves_figure(history(90), simulated=True),
    "a weighted loss": lambda: learning_curves_figure(history(5, 30), simulated=True),
    "curves": lambda: roc_pr_figure(LABEL, LOGIT, metrics()),
    "curves of one click": lambda: roc_pr_figure(ONE_CLICK, LOGIT, metrics(auc=None)),
    "curves of no click": lambda: roc_pr_figure(0 * LABEL, LOGIT, metrics(auc=None)),
    "curves of a constant": lambda: roc_pr_figure(LABEL, 0 * LOGIT, metrics(auc=0.5)),
    "curves of huge logits": lambda: roc_pr_figure(LABEL, 80 * np.sign(LOGIT + 4), metrics()),
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
    "no slices": lambda: slices_figure(metrics()),
    "one unknown slice": lambda: slices_figure(metrics({"a": [slice_of("b", 9)]}, auc=None)),
    "attention": lambda: attention_figure(attention("abcde", 400), simulated=True),
    "attention of fields": lambda: attention_figure(attention([LONG] * 12, 0), simulated=True),
    "attention of positions": lambda: attention_figure(attention((), 30), simulated=False),
    "attention to the target": lambda: attention_figure(attention("a", 1), simulated=False),
    "60 AUCs": lambda: auc_figure([*MANY, *MANY], simulated=True),
    "AUC of one model": lambda: auc_figure([model("len5")], simulated=False),
    "no AUC": lambda: auc_figure([unknown("constant")], simulated=True),
    "max_len": lambda: max_len_figure(MANY, simulated=True),
    "one max_len": lambda: max_len_figure([model("len5")], simulated=True),
    "neighbouring max_len": lambda: max_len_figure(
        [model(f"len{n}") for n in (100, 101, 102, 20_000)], simulated=True
    ),
    "nothing by max_len": lambda: max_len_figure([unknown("len5")], simulated=True),
    "no max_len": lambda: max_len_figure([model("constant")], simulated=True),
    "speed": lambda: speed_figure(
        [*MANY, model("constant", train_speed=NAN, predict_speed=9e9, memory=1e-4)], simulated=True
    ),
    "no speed": lambda: speed_figure([unknown("constant")], simulated=True),
}


@functools.cache
def hard(name: str) -> tuple[Figure, list[tuple[str, Bbox]]]:
    """A figure of a hard case, and its texts as drawn."""
    figure = HARD[name]()
    return figure, drawn_texts(figure)


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Each text that is drawn, with its place in pixels."""
    found: list[tuple[str, Bbox]] = []
    draw = Text.draw

    def noted(self: Text, renderer: Any, *args: Any, **named: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), self.get_window_extent(renderer)))
        draw(self, renderer, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        FigureCanvasAgg(figure).draw()
    return found


def words(texts: Sequence[tuple[str, Bbox]]) -> str:
    return "\n".join(text for text, _ in texts).replace("\u00a0", " ")


def lines_of(ax: Axes, marker: str) -> list[np.ndarray]:
    return [line.get_xydata() for line in ax.lines if line.get_marker() == marker]


@pytest.mark.parametrize("name", HARD)
def test_no_text_is_cut_or_lies_on_another(name: str) -> None:
    figure, texts = hard(name)
    assert texts
    for text, box in texts:
        assert box.x0 >= -0.5, text
        assert box.y0 >= -0.5, text
        assert box.x1 <= figure.bbox.x1 + 0.5, text
        assert box.y1 <= figure.bbox.y1 + 0.5, text
    for (one, box), (other, second) in itertools.combinations(texts, 2):
        both = Bbox.intersection(box, second)
        assert both is None or min(both.width, both.height) < 1, (one, other)


@pytest.mark.parametrize("name", HARD)
def test_panels_are_wide_enough_to_read(name: str) -> None:
    figure, _ = hard(name)
    for ax in figure.axes:
        box = ax.get_window_extent()
        # The target's own panel, beside the positions, is narrow.
        narrow = [label.get_text() for label in ax.get_xticklabels()] == ["target"]
        assert box.width / figure.dpi > (0.5 if narrow else 1.5), ax
        assert box.height / figure.dpi > 0.25, ax


def test_the_same_input_gives_the_same_bytes_and_no_date(tmp_path: Path) -> None:
    table = pa.table({"row": np.arange(len(LABEL)), "label": LABEL, "logit": LOGIT})
    write_table(table, tmp_path / "valid.parquet")
    slices = {"hour": [slice_of(f"{i}", 9, 0.6) for i in range(5)]}
    write_json(tmp_path / "metrics.json", metrics(slices))
    with open(tmp_path / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(history(1)[0]))
        writer.writeheader()
        writer.writerows(history(4))
    names = ("learning_curves", "roc_pr", "calibration", "slices")
    for folder in ("a", "b"):
        plot_model(
            tmp_path / "valid.parquet",
            tmp_path / "metrics.json",
            tmp_path / "history.csv",
            *(tmp_path / folder / f"{name}.svg" for name in names),
        )
    for name in names:
        first, second = ((tmp_path / f / f"{name}.svg").read_bytes() for f in "ab")
        assert first == second
        assert first.startswith(b"<?xml")
        assert b"<dc:date>" not in first


def test_a_model_without_history_has_no_learning_curves(tmp_path: Path) -> None:
    write_table(pa.table({"label": LABEL, "logit": LOGIT}), tmp_path / "valid.parquet")
    write_json(tmp_path / "metrics.json", metrics())
    outputs = [tmp_path / "out" / f"{name}.svg" for name in "abc"]
    plot_model(tmp_path / "valid.parquet", tmp_path / "metrics.json", None, None, *outputs)
    assert sorted((tmp_path / "out").iterdir()) == outputs


def test_simulated_data_are_marked_and_real_ones_are_not() -> None:
    simulated = {name: SIMULATED in words(hard(name)[1]) for name in HARD}
    assert [name for name, marked in simulated.items() if not marked] == [
        "one evaluation",
        "attention of positions",
        "attention to the target",
        "AUC of one model",
    ]


def test_learning_curves_mark_the_evaluation_with_the_best_monitor() -> None:
    rows = history(6)
    figure = learning_curves_figure(rows, simulated=True)
    losses, aucs = figure.axes
    assert lines_of(losses, "s")[0].tolist() == [[row["step"], row["train_loss"]] for row in rows]
    assert lines_of(losses, "o")[0].tolist() == [[row["step"], row["logloss"]] for row in rows]
    assert lines_of(aucs, "*")[0].tolist() == [[rows[2]["step"], rows[2]["auc"]]]
    assert "epoch 3 of 6" in words(drawn_texts(figure))


def test_the_drawn_curves_are_those_of_all_rows() -> None:
    label, logit = clicks(200_000)
    left, right = roc_pr_figure(label, logit, metrics()).axes
    for line in (left.lines[1], right.lines[1]):
        assert 100 < len(line.get_xydata()) <= 500
    false, true, _ = roc_curve(label, logit, drop_intermediate=False)
    drawn_false, drawn_true = left.lines[1].get_data()
    assert np.abs(np.interp(false, drawn_false, drawn_true) - true).max() < 0.01
    area = np.trapezoid(drawn_true, drawn_false)
    assert area == pytest.approx(np.trapezoid(true, false), abs=1e-4)


@pytest.mark.parametrize("logit", [LOGIT, 0 * LOGIT, np.round(LOGIT), -LOGIT], ids=range(4))
def test_the_area_below_the_precision_steps_is_the_average_precision(logit: np.ndarray) -> None:
    for label in (LABEL, ONE_CLICK):
        recall, precision = precision_steps(label, logit)
        area = np.trapezoid(precision, recall)
        assert area == pytest.approx(average_precision_score(label, logit))


def test_a_thinned_curve_keeps_its_corners_and_no_point_of_a_straight_line() -> None:
    x = np.linspace(0, 1, 10_001)
    corners = np.abs(x - 0.3) + (np.arange(10_001) > 7000)
    assert thinned(x, corners).tolist() == [0, 3000, 7000, 7001, 10_000]
    assert thinned(x, 2 * x).tolist() == [0, 10_000]
    assert len(thinned(x, np.random.default_rng(0).random(10_001), most=50)) == 50


@pytest.mark.parametrize(("clicked", "rows"), [(0, 10), (1, 5000), (95, 5000), (7, 7)])
def test_bars_of_the_calibration_are_wilson_intervals(clicked: int, rows: int) -> None:
    expected = binomtest(clicked, rows).proportion_ci(0.95, "wilson")
    assert wilson(clicked, rows) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_calibration_bins_hold_all_rows_and_equal_predictions_share_one() -> None:
    bins = calibration_bins(LABEL, LOGIT)
    assert len(bins) == 20
    assert bins[:, 1:].sum(axis=0).tolist() == [LABEL.sum(), len(LABEL)]
    assert np.ptp(bins[:, 2]) <= 2
    assert (np.diff(bins[:, 0]) > 0).all()
    tied = calibration_bins(LABEL, np.repeat([-3.0, -5.0], len(LABEL) // 2))
    assert tied[:, 0] == pytest.approx([1 / (1 + math.exp(5)), 1 / (1 + math.exp(3))])
    assert len(calibration_bins(ONE_CLICK, LOGIT)) == 5


def test_bins_without_clicks_or_of_tiny_predictions_are_drawn_and_counted() -> None:
    assert "Triangle down: 4 bins without clicks" in words(hard("calibration of one click")[1])
    for name in HARD:
        if name.startswith("calibration"):
            (ax,) = hard(name)[0].axes
            drawn = sum(len(points) for marker in "ov<" for points in lines_of(ax, marker))
            bins = int(words(hard(name)[1]).split(" bin")[0].split()[-1])
            assert drawn == bins, name


def test_slices_are_drawn_in_their_order_with_their_intervals() -> None:
    slices = [slice_of(f"s{i}", 100, auc) for i, auc in enumerate((0.6, 0.8, 0.7))]
    figure = slices_figure(metrics({"column": slices}))
    (ax,) = figure.axes
    points = np.concatenate(lines_of(ax, "o"))
    assert points.tolist() == [[0.6, 0], [0.8, 1], [0.7, 2]]
    ends = [bar.get_segments()[0][:, 0].tolist() for bar in ax.collections]
    assert ends == [[entry["auc"]["low"], entry["auc"]["high"]] for entry in slices]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["s0", "s1", "s2"]
    assert "1 clearly below, 1 clearly above" in words(drawn_texts(figure))


def test_of_many_slices_the_largest_are_drawn_and_the_rest_counted() -> None:
    slices = [slice_of(f"s{i}", 100 + (i * 7) % 40, 0.7) for i in range(40)]
    figure = slices_figure(metrics({"column": slices}))
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    largest = {s["slice"] for s in slices if s["rows"] >= 132}
    assert shown == [s["slice"] for s in slices if s["slice"] in largest]
    assert "32 left out" in words(drawn_texts(figure))


def test_slices_without_an_auc_say_why() -> None:
    text = words(hard("slices")[1])
    assert all(why in text for why in ("no clicks", "only clicks", "no rows", "(empty)"))


def test_the_heat_map_has_every_weight_and_field() -> None:
    content = attention("abcde", 0)
    (ax,) = attention_figure(content, simulated=False).axes
    (mesh,) = (item for item in ax.collections if isinstance(item, QuadMesh))
    assert np.asarray(mesh.get_array()).tolist() == content["field_attention"]
    assert ax.get_ylim() == (5, 0)  # the first row at the top
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[(1.5, 3.5)] == f"{content['field_attention'][3][1]:.2f}"
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == list("abcde")


def test_positions_are_drawn_as_given_the_target_apart_and_rare_ones_grey() -> None:
    content = attention((), 200)
    target, events = attention_figure(content, simulated=False).axes
    weights = {entry["position"]: entry["weight"] for entry in content["positions"]}
    assert target.lines[0].get_xydata().tolist() == [[0, weights.pop(0)]]
    everything, common = (dict(line.get_xydata().tolist()) for line in events.lines)
    assert everything == weights
    # 1,000 // (i + 1) rows of 1,000 are 1 % up to position 99.
    assert sorted(common) == list(range(1, 100))


def test_a_model_without_attention_is_told_which_settings_give_it(tmp_path: Path) -> None:
    path = tmp_path / "attention.json"
    write_json(path, attention((), 0))
    with pytest.raises(UserError, match=r"interaction: autoint.*pooling: weighted_sum"):
        plot_attention(path, None, tmp_path / "attention.svg")


def test_aucs_are_drawn_best_first_with_their_intervals() -> None:
    models = [
        model("len5", 0.6),
        model("boosting", 0.8),
        model("len7", 0.7),
        model("constant", 0.5),
    ]
    (ax,) = auc_figure(models, simulated=False).axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["boosting", "len7", "len5", "constant"]
    assert np.concatenate(lines_of(ax, "o")).tolist() == [[0.7, 1], [0.6, 2]]
    assert lines_of(ax, "s")[0].tolist() == [[0.8, 0]]
    ends = [bar.get_segments()[0][:, 0].tolist() for bar in ax.collections]
    assert ends == [list(models[i].auc[1:]) for i in (1, 2, 0)]


def test_a_line_by_max_len_holds_the_models_of_one_size_and_variant() -> None:
    models = [
        model("len500", 0.72, epoch_seconds=40.0),
        model("len100", 0.7, epoch_seconds=10.0, memory=0.5),
        model("len500-deep", 0.74, epoch_seconds=60.0),
        model("constant", 0.5),
    ]
    figure = max_len_figure(models, simulated=False)
    for ax, of in zip(figure.axes, (lambda m: m.auc[0], lambda m: m.epoch_seconds,
                                    lambda m: m.memory)):  # fmt: skip
        assert lines_of(ax, "o")[0].tolist() == [[100, of(models[1])], [500, of(models[0])]]
        assert lines_of(ax, "s")[0].tolist() == [[500, of(models[2])]]
    assert "deep" in words(drawn_texts(figure))


def test_speeds_stand_beside_their_points() -> None:
    models = [model("len5", train_speed=12_345.0), model("constant", train_speed=NAN)]
    training = speed_figure(models, simulated=False).axes[0]
    assert lines_of(training, "o")[0].tolist() == [[12_345, 0]]
    assert [text.get_text() for text in training.texts] == ["12,300", "not measured"]


def write_comparison(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, comparison.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_comparison_is_read_with_its_gaps(tmp_path: Path) -> None:
    row = {"size": "toy", "model": "constant", "kind": "baseline", "auc": 0.5}
    path = write_comparison(tmp_path / "comparison.csv", [row])
    outputs = [tmp_path / f"{name}.svg" for name in "abc"]
    plot_comparison(path, *outputs)
    assert all(output.read_bytes().startswith(b"<?xml") for output in outputs)


@pytest.mark.parametrize("content", ["", "size,model\n", "size,model\ntoy,constant\n"])
def test_a_comparison_without_rows_or_columns_is_an_error_with_its_name(
    tmp_path: Path, content: str
) -> None:
    path = write_comparison(tmp_path / "comparison.csv", [])
    with pytest.raises(UserError, match=r"comparison\.csv: no rows"):
        plot_comparison(path, *[tmp_path / "a.svg"] * 3)
    path.write_text(content)
    with pytest.raises(UserError, match=r"comparison\.csv: no column"):
        plot_comparison(path, *[tmp_path / "a.svg"] * 3)


@pytest.mark.parametrize("text", ["short", LONG, "日本 한국", "a\nb\x00", "W" * 500, "", "$x^2$ _"])
def test_texts_are_made_to_fit(text: str) -> None:
    for width in (0.5, 2.0):
        assert inches(fitted(text, width), 12.5) <= width
        for line in wrapped(text, width, 12.5).split("\n"):
            assert inches(line, 12.5) <= width
    assert fitted("short", 2) == "short"
    assert fitted("日\n", 2) == "\\u65e5\\n"


def test_labels_are_moved_apart_by_as_little_as_it_takes() -> None:
    assert spread([10, 50], 20, 100) == [10, 50]
    assert spread([50, 50], 20, 100) == [40, 60]
    assert spread([0, 0, 99], 20, 100) == [0, 20, 99]
    assert spread([95, 99], 20, 100) == [80, 100]
    random = np.random.default_rng(0)
    for _ in range(100):
        places = np.sort(random.uniform(0, 100, 4)).tolist()
        moved = spread(places, 20, 100)
        assert (np.diff(moved) >= 20 - 1e-9).all()
        assert min(moved) >= -1e-9
        assert max(moved) <= 100 + 1e-9
