"""Any figure is legible, whatever its inputs are, and the same for the same inputs."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from feseq.common.files import write_json
from feseq.common.parquet import write_table
from feseq.report.figures.all_models import (
    aucs_figure,
    by_max_len_figure,
    plot_comparison,
    speed_figure,
)
from feseq.report.figures.attention_maps import attention_figure
from feseq.report.figures.data import (
    click_rates_figure,
    drift_figure,
    lengths_figure,
    missing_figure,
)
from feseq.report.figures.importance import importance_figure
from feseq.report.figures.one_model import (
    calibration_figure,
    learning_curves_figure,
    plot_model,
    roc_pr_figure,
    slices_figure,
)
from feseq.report.figures.style import SIMULATED
from support.facts import plain_facts
from support.figures import (
    LABEL,
    LOGIT,
    LONG,
    ONE_CLICK,
    attention,
    drawn_texts,
    history,
    importance,
    metrics,
    models,
    predictions,
    slice_of,
)

MEASURED = ("auc", "auc_low", "auc_high", "train_samples_per_second", "predict_samples_per_second")
UNKNOWN = dict.fromkeys((*MEASURED, "train_seconds", "peak_memory_mib", "device"), math.nan)
MANY = [f"len{n}-{v}{'_and_more' * 6}" for v in "abcdefghij" for n in (50, 150, 500)]
MANY_SLICES = {
    LONG: [slice_of(f"{LONG} {i}", 10**8 + i, 0.7) for i in range(300)],
    "hour": [slice_of(f"{i}", 9, 0.6 + 0.001 * i) for i in range(9)],
    "hour without clicks": [slice_of(f"{i}", 9) for i in range(24)],
    "none": [slice_of("a", 9), slice_of("", 0)],
}
FIGURES: dict[str, Callable[[], Figure]] = {
    "learning curves": lambda: learning_curves_figure(history(5), metrics()),
    "one evaluation": lambda: learning_curves_figure(history(1), metrics()),
    "many evaluations": lambda: learning_curves_figure(history(90), metrics()),
    "a weighted loss": lambda: learning_curves_figure(history(5, 30), metrics()),
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
    "importance": lambda: importance_figure(importance(200)),
    "importance of one click": lambda: importance_figure(importance(2, None)),
    "attention": lambda: attention_figure(attention("abcde", 400), LONG, simulated=True),
    "attention of fields": lambda: attention_figure(
        attention([LONG] * 12, 0), LONG, simulated=True
    ),
    "attention of positions": lambda: attention_figure(attention((), 30), LONG, simulated=True),
    "attention to the target": lambda: attention_figure(attention("a", 1), LONG, simulated=True),
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


# Those with many or long names of rows.
CROWDED = ("30 AUCs", "speed", "slices", "drift_figure of long names")


@pytest.mark.parametrize("name", [*FIGURES, *WITHOUT_AXES])
def test_a_figure_is_legible_and_whole(name: str) -> None:
    figure = (FIGURES | WITHOUT_AXES)[name]()
    texts = drawn_texts(figure)
    assert any(SIMULATED in text.get_text() for text in texts)
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02, box
    # What cannot be drawn is said.
    assert bool(figure.axes) == (name in FIGURES)
    assert figure.axes or len(texts) == 2
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
        names = [label.get_window_extent() for label in ax.get_yticklabels()]
        is_crowded = any(one.overlaps(other) for one, other in pairwise(names))
        assert not (name in CROWDED and is_crowded), ax


def test_real_data_have_no_mark() -> None:
    for figure in (
        learning_curves_figure(history(5), metrics() | {"simulated_data": False}),
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
