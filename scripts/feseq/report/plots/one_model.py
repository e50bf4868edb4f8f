"""Plots of one model: learning curves, ROC and precision-recall, calibration, slices."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

from ...common.files import read_json
from ...common.logits import sigmoid
from ...evaluate.metrics import BY_NAME
from ...evaluate.valid_predictions import read_predictions
from ..page import percent, with_interval
from .style import (
    BLUE,
    GREY,
    ROW,
    SIGNIFICANT,
    VERMILION,
    WIDTH,
    draw_intervals,
    draw_rows,
    log_axis,
    new_plot,
    save,
    short,
    styled,
    wilson,
)

MOST_SLICES = 24  # of a column, such as all hours of a day
CLICKS_PER_BIN = 10  # there are fewer bins where clicks are few
SMALLEST = 1e-6  # probability that is drawn: -80 as a logit is 1e-35


def plot_model(
    predictions: Path,
    metrics: Path,
    roc_pr: Path,
    calibration: Path,
    slices: Path,
) -> None:
    """Draw what valid_predictions.parquet and metrics.json say of a model."""
    table = read_predictions(predictions)
    label, logit = (np.asarray(table[name].to_numpy()) for name in ("label", "logit"))
    measured = read_json(metrics)
    save(roc_pr_plot(label, logit, measured), roc_pr)
    save(calibration_plot(label, logit, measured), calibration)
    save(slices_plot(measured), slices)


def plot_learning_curves(history: Path, metrics: Path, plot: Path) -> None:
    """Draw what history.csv says of a training."""
    save(learning_curves_plot(pd.read_csv(history), read_json(metrics)), plot)


@styled
def learning_curves_plot(history: pd.DataFrame, measured: dict[str, Any]) -> Figure:
    """Losses and AUC of the evaluations in history.csv, the best one marked."""
    # The first of equals, which the training keeps.
    best = history.iloc[int(history["monitor"].fillna(-np.inf).argmax())]
    title = (
        f"Best of {len(history)} evaluations: epoch {best['epoch']:.0f} of "
        f"{history['epoch'].iloc[-1]:.0f}, step {best['step']:,.0f}\n"
        f"AUC {best['auc']:.4f}, from {measured['clicks']:,} clicks"
    )
    figure = _new_plot(measured, WIDTH, 5.5, title)
    losses, aucs = figure.subplots(2, 1, sharex=True)
    step = history["step"]
    losses.plot(step, history["train_loss"], "s--", color=VERMILION, label="training")
    losses.plot(step, history["logloss"], "o-", color=BLUE, label="validation")
    aucs.plot(step, history["auc"], "o-", color=BLUE, label="validation")
    for ax, name in ((losses, "loss (nats per row)"), (aucs, "AUC")):
        ax.axvline(best["step"], color=GREY, linestyle=":", label="best: its weights are kept")
        ax.set_ylabel(name)
        ax.legend()
    aucs.set_xlabel("training step")
    drawn = history[["train_loss", "logloss"]].to_numpy()
    low, high = np.nanmin(drawn), np.nanmax(drawn)
    # As with a weight on clicks.
    if 0 < 5 * low < high:
        log_axis(losses, "y", low, high)
    return figure


@styled
def roc_pr_plot(label: np.ndarray, logit: np.ndarray, measured: dict[str, Any]) -> Figure:
    """ROC and precision-recall curve, AUC and average precision with their intervals."""
    clicks, rows = int(label.sum()), len(label)
    title = f"{clicks:,} clicks in {rows:,} validation rows"
    if clicks in (0, rows):
        return _new_plot(measured, WIDTH, 1.2, f"{title}: no curves to draw")
    figure = _new_plot(measured, 9, 4.8, title, "In brackets: 95 % intervals.")
    roc, pr = figure.subplots(1, 2)
    look = {"plot_chance_level": True, "drop_intermediate": True}
    name = f"AUC {_metric(measured, 'auc')}"
    kwargs = {"color": BLUE, "label": name}
    RocCurveDisplay.from_predictions(label, logit, ax=roc, curve_kwargs=kwargs, **look)
    roc.set(title="ROC", xlabel="share of the other rows", ylabel="share of the clicks")
    name = f"average precision {_metric(measured, 'average_precision')}"
    kwargs = {"color": BLUE, "label": name}
    curve = PrecisionRecallDisplay.from_predictions(
        label, logit, ax=pr, curve_kwargs=kwargs, **look
    )
    # The precision of the first clicks leaps; the frame is made for the rest.
    settled = curve.precision[:-1][curve.recall[:-1] * clicks >= min(10, clicks)].max()
    pr.set_aspect("auto")
    pr.set(title="Precision-recall", xlabel="share of the clicks (recall)")
    pr.set(ylabel="clicks among the rows picked (precision)", ylim=(0, min(1.02, 1.3 * settled)))
    pr.yaxis.set_major_formatter(PercentFormatter(1))
    for ax in (roc, pr):
        ax.legend(fontsize=8)
    return figure


@styled
def calibration_plot(label: np.ndarray, logit: np.ndarray, measured: dict[str, Any]) -> Figure:
    """Predicted probability against the share of clicks, in bins of equally many rows."""
    bins = calibration_bins(label, logit)
    title = (
        f"Mean prediction {percent(sigmoid(logit.astype(np.float64)).mean())}, "
        f"{label.sum():,} clicks: {percent(label.mean())}\n"
        f"calibration error {_metric(measured, 'calibration_error')}"
    )
    rows = " to ".join(f"{count:,}" for count in sorted({bins["rows"].min(), bins["rows"].max()}))
    note = f"{len(bins)} bins of {rows} rows, with 95 % intervals."
    figure = _new_plot(measured, WIDTH, 5.5, title, note)
    ax = figure.subplots()
    some, none = bins[bins["clicks"] > 0], bins[bins["clicks"] == 0]
    ax.vlines(some["predicted"], some["low"], some["high"], color=BLUE)
    ax.plot(some["predicted"], some["share"], "o", color=BLUE, label="a bin")
    if len(none):
        # A logarithmic axis has no 0.
        upper = "a bin without clicks: upper end of its interval"
        ax.plot(none["predicted"], none["high"], "v", color=VERMILION, label=upper)
    drawn = pd.concat([bins["predicted"], bins["high"], some["low"]])
    low, high = drawn.min(), drawn.max()
    ax.plot([low, high], [low, high], ":", color=GREY, label="clicks as predicted")
    log_axis(ax, "x", low, high, lambda value, _: percent(value))
    log_axis(ax, "y", low, high, lambda value, _: percent(value))
    ax.set(xlabel="predicted probability", ylabel="share of clicks")
    ax.legend(loc="upper left")
    return figure


def calibration_bins(label: np.ndarray, logit: np.ndarray) -> pd.DataFrame:
    """Rows, clicks, mean `predicted` and `share` of clicks by bin; equal logits share a bin.

    `low` and `high` are the 95 % interval of the share.
    """
    count = int(np.clip(label.sum() // CLICKS_PER_BIN, 5, 20))
    logit = logit.astype(np.float64)
    edges = np.unique(np.quantile(logit, np.arange(1, count) / count))
    rows = pd.DataFrame({"predicted": sigmoid(logit), "label": label})
    found = rows.groupby(np.searchsorted(edges, logit)).agg(
        predicted=("predicted", "mean"), clicks=("label", "sum"), rows=("label", "size")
    )
    low, high = wilson(found["clicks"].astype(float), found["rows"])
    found = found.assign(share=found["clicks"] / found["rows"], low=low, high=high)
    return found.assign(**{name: found[name].clip(SMALLEST, 1) for name in ("predicted", "low")})


@styled
def slices_plot(measured: dict[str, Any]) -> Figure:
    """AUC by slice, one panel a column, beside the AUC of all rows."""
    tables = {
        name: pd.DataFrame(slices).nlargest(MOST_SLICES, "rows").sort_index()
        for name, slices in measured["slices"].items()
        if slices
    }
    across = min(2, len(tables))
    rows = [len(slices) for slices in tables.values()]
    heights = [max(rows[i : i + across]) + 3.5 for i in range(0, len(rows), across)]
    figure = _new_plot(
        measured,
        WIDTH * (1 + across) / 2,
        sum(heights) * ROW + 1.2,
        f"AUC by slice: at most the {MOST_SLICES} largest of a column",
        f"Dotted: AUC of all rows, {_metric(measured, 'auc')}. In brackets: clicks of rows.",
        SIGNIFICANT,
    )
    panels = figure.subplots(
        len(heights), across, height_ratios=heights, squeeze=False, sharex=True
    ).flat
    for (name, slices), ax in zip(tables.items(), panels):
        ax.set_title(short(name), loc="left", fontsize="medium")
        ax.axvline(measured["metrics"]["auc"]["value"] or np.nan, color=GREY, linestyle=":")
        _draw_slices(ax, slices)
    for ax in list(panels):
        ax.remove()
    return figure


def _draw_slices(ax: Axes, slices: pd.DataFrame) -> None:
    counts = slices[["slice", "clicks", "rows"]].itertuples(index=False)
    draw_rows(
        ax, [f"{short(s.strip(), 24)} ({clicks:,} of {rows:,})" for s, clicks, rows in counts]
    )
    aucs = pd.DataFrame([of or {} for of in slices["auc"]], columns=["value", "low", "high"])
    aucs["chance"] = [(of or {}).get("chance") for of in slices["apart"]]
    draw_intervals(ax, aucs)
    ax.set_xlabel("AUC")
    ax.tick_params(labelbottom=True)


def _new_plot(
    measured: dict[str, Any], width: float, height: float, title: str, *notes: str
) -> Figure:
    """An empty plot with size and name of the model above its title."""
    title = f"{short(measured['full_name'])}\n{title}"
    return new_plot(width, height, title, *notes, simulated=bool(measured["simulated_data"]))


def _metric(measured: dict[str, Any], name: str) -> str:
    return with_interval(measured["metrics"].get(name), BY_NAME[name].digits) or "unknown"
